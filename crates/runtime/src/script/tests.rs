use super::*;
use quickpick_format::Matrix24;
use quickpick_kernels::{Activation, DType, Problem, RmsNorm, select};

/// A 2:4 layer of 512 features and 64 columns at one token, Y named.
fn layer(caps: WgpuCaps) -> Written {
    let script = Script::new(caps);
    let dense = Vec::from_iter(
        (0..512 * 64).map(|i| crate::f16::from_f32(if i % 4 < 2 { 1.0 } else { 0.0 })),
    );
    let weight = Matrix24::compress(&dense, 512, 64).unwrap();
    let mut layer = crate::LinearLayer::sparse(&script, weight, None).unwrap();
    let plan = layer.select(&script, 1, DType::F32, Activation::None, false).unwrap().plan;
    let operands = crate::Operands {
        x: script.upload(&[1; 128]).unwrap().into(),
        x_scale: None,
        residual: None,
        y: script.buffer(4 * 512).unwrap().into(),
        workspace: None,
        sum: None,
    };
    script.name("y", &operands.y.buffer).unwrap();
    script.buffer(1 << 40).unwrap(); // nobody binds it, so it is no part of the script
    let step = layer.step(&script, &plan, &operands).unwrap();
    script.run(&[step]).unwrap();
    script.finish()
}

#[test]
fn a_step_is_its_plan_written_down() {
    let Written { form, data, texts } = layer(WgpuCaps::webgpu());
    let [launch] = form.launches.as_slice() else { panic!("{:?}", form.launches) };
    let shader = &form.shaders[launch.shader];
    assert!(texts[launch.shader].contains(&format!("fn {}(", shader.name)));
    assert_eq!(shader.access, ["read", "read", "read", "read", "read", "read_write"]);
    let sizes: Vec<_> = launch.bindings.iter().map(|b| b.map(|[.., size]| size)).collect();
    // values 512·32·2, metadata half a byte for each four columns, X 64·2; no bias, no residual; Y 512·4
    assert_eq!(sizes, [Some(32768), Some(4096), Some(128), None, None, Some(2048)]);
    assert_eq!(form.buffers.len(), 4);
    assert_eq!(form.named["y"].bytes, 2048);
    assert_eq!(data.len() as u64, form.data);
    assert_eq!(form.data, 32768 + 4096 + 128);
    let x = &form.buffers[launch.bindings[2].unwrap()[0] as usize];
    let [[0, from, 128]] = x.writes[..] else { panic!("{:?}", x.writes) };
    assert_eq!(data[from as usize..][..128], [1; 128]);
    assert_eq!(launch.params[..3], [512, 1, 64]);
    assert!(launch.params.len().is_multiple_of(4));
    assert_eq!(form.needs.limits["maxStorageBufferBindingSize"], 32768);
    assert!(form.needs.features.is_empty() && form.needs.subgroup == 0);
}

#[test]
fn a_cut_plan_is_several_launches_of_one_shader() {
    let small = WgpuCaps { binding_bytes: 16384, ..WgpuCaps::webgpu() };
    let Written { form, .. } = layer(small);
    assert_eq!((form.launches.len(), form.shaders.len()), (2, 1));
    let values = form.launches.iter().map(|l| l.bindings[0].unwrap());
    let place = form.launches[0].bindings[0].unwrap()[0];
    assert_eq!(Vec::from_iter(values), [[place, 0, 16384], [place, 16384, 16384]]);
    assert_eq!(form.needs.limits["maxStorageBufferBindingSize"], 16384);
}

#[test]
fn features_are_told() {
    let lanes = WgpuCaps { subgroup: 8, software: true, ..WgpuCaps::webgpu() };
    let needs = layer(lanes).form.needs;
    assert_eq!((needs.features.as_slice(), needs.subgroup), (&["subgroups"][..], 8));
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let script = Script::new(WgpuCaps::webgpu());
    let norm = Problem::RmsNorm(RmsNorm { n: 1, d: 64, eps: 1e-5, out: DType::F16 });
    let plan = select(&norm, script.caps()).unwrap().plan;
    let (x, gain, y) = (script.buffer(256), script.buffer(256), script.buffer(128));
    let (x, gain, y) = (x.unwrap(), gain.unwrap(), y.unwrap());
    let bound = [&x, &gain, &y].map(|b| Some(b.clone().into()));
    let step = script.step(&plan, &bound).unwrap();
    script.write(&x, 0, &[0; 256]).unwrap();
    script.run(&[step]).unwrap();
    let said = |error: Error| error.to_string();
    assert!(said(script.write(&x, 0, &[0; 4]).unwrap_err()).contains("launches before a write"));
    assert!(said(script.write(&y, 0, &[0; 256]).unwrap_err()).contains("a buffer of 128 bytes"));
    assert!(said(script.read(&y, 0, 4).unwrap_err()).contains("run elsewhere"));
    script.name("y", &y).unwrap();
    script.name("y", &y).unwrap();
    assert!(said(script.name("y", &x).unwrap_err()).contains("the name \"y\": 2 given"));
    let short = [&x, &gain, &gain].map(|b| Some(b.clone().into()));
    assert!(matches!(script.step(&plan, &short), Err(Error::Aliased { .. })));
}
