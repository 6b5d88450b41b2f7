use super::*;
#[test]
#[ignore]
fn time() {
    let meta = [0xE4E4_4E4Eu32; 32];
    let a = [[0x3C00_4000u32; 32]; 4];
    let mut c = [[0u32; 32]; 4];
    for (k, s, e) in [
        (32, true, Element::F16),
        (16, false, Element::F16),
        (64, true, Element::S8),
        (64, true, Element::E4m3),
    ] {
        let sp = if s { Sparsity::Sparse { ordered: true } } else { Sparsity::Dense };
        let f = Form::warp(k, e, e, if e == Element::S8 { Acc::S32 } else { Acc::F32 }, sp, false)
            .unwrap();
        let t = std::time::Instant::now();
        for _ in 0..300000 {
            let m = s.then_some(Metadata { word: &meta, selector: 0, tolerant: false });
            let mut out = [[0; 32]; 4];
            warp(
                &f,
                std::hint::black_box(&a),
                std::hint::black_box(&a[..f.b_registers()]),
                &c,
                m,
                &mut out,
            )
            .unwrap();
            c[0][0] = out[0][1] & 1;
        }
        println!("{f}: {:?}", t.elapsed() / 300000);
    }
}
