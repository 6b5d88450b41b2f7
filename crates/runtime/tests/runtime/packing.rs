//! Weights that are packed on the device: what the host packs, errors with their place, a layer.

#[cfg(any(feature = "wgpu", feature = "cuda"))]
use crate::skip::unless_open;
use half::{bf16, f16};
use quickpick::format::{self, Element, Matrix24, Order};
use quickpick::kernels::{Activation, DType, Packing};
use quickpick::{Backend, Error, LinearLayer, Operands, Weight};

/// Rows, and columns that are no multiple of 32.
const M: usize = 70;
const K: usize = 100;

fn dense<T: Element>() -> Vec<T> {
    Vec::from_iter((0..M * K).map(|i| T::from_f32((i * 37 % 101) as f32 / 8.0 - 6.0)))
}

fn problem(dtype: DType, order: Order) -> Packing {
    Packing { m: M as u32, k: K as u32, dtype, order }
}

fn all<B: Backend>(backend: &B, buffer: &B::Buffer) -> Vec<u8> {
    backend.read(buffer, 0, backend.len(buffer)).unwrap()
}

/// Every order: the bytes that the host packs, and back to the dense ones that are left.
fn as_the_host<T: Element, B: Backend>(backend: &B) {
    let dense = dense::<T>();
    let matrix = Matrix24::magnitude(&dense, M, K).unwrap();
    for order in Order::ALL {
        let p = problem(T::DTYPE, order);
        let on_device = backend.upload(bytemuck::cast_slice(&dense)).unwrap();
        let weight = Weight::packed(backend, on_device, p).unwrap();
        let packed = matrix.pack(order).unwrap();
        assert_eq!(all(backend, &weight.values), packed.value_bytes(), "{order}");
        let metadata = weight.metadata.as_ref().unwrap();
        assert_eq!(all(backend, metadata), packed.metadata_bytes(), "{order}");
        let back = weight.unpacked(backend, p).unwrap();
        assert_eq!(all(backend, &back), bytemuck::cast_slice::<T, u8>(&matrix.expand()), "{order}");
    }
}

/// What `format` refuses is an error here, with the same words.
fn refuses<B: Backend>(backend: &B) {
    let mut dense = dense::<bf16>();
    (dense[7 * K + 41], dense[7 * K + 43]) = (bf16::NEG_INFINITY, bf16::NAN);
    dense[30 * K] = bf16::INFINITY;
    let by_host = Matrix24::magnitude(&dense, M, K).unwrap_err();
    let on_device = backend.upload(bytemuck::cast_slice(&dense)).unwrap();
    for order in Order::ALL {
        let p = problem(DType::BF16, order);
        let why = Weight::packed(backend, on_device.clone(), p).err().unwrap();
        assert_eq!(why.to_string(), format!("bad 2:4 data: {by_host}"), "{order}");
    }
    let short = backend.buffer(100).unwrap();
    let why = Weight::packed(backend, short, problem(DType::BF16, Order::RowMajor)).err().unwrap();
    assert!(matches!(why, Error::Argument { got: 100, expected: 14000, .. }), "{why}");
    let why = Weight::packed(backend, on_device.clone(), problem(DType::F32, Order::RowMajor));
    assert!(matches!(why.err(), Some(Error::NoKernel(_))), "f32 is not packed on a device");
    let none = Weight::<B> { values: on_device, metadata: None };
    let why = none.unpacked(backend, problem(DType::BF16, Order::RowMajor)).err().unwrap();
    assert!(matches!(why, Error::Argument { got: 0, .. }), "{why}");
}

/// A code that names no pair: its place, and the code.
fn finds_bad_codes<B: Backend>(backend: &B) {
    let matrix = Matrix24::magnitude(&dense::<f16>(), M, K).unwrap();
    for order in Order::ALL {
        let mut packed = matrix.pack(order).unwrap();
        let places = format::Places::new(order, DType::F16, M, K).unwrap();
        // both kept values of columns 96..100 of row 33 in column 2
        for j in [48, 49] {
            let (word, shift) = places.code(33, j);
            packed.metadata[word] = packed.metadata[word] & !(3 << shift) | 2 << shift;
        }
        let weight = Weight::<B> {
            values: backend.upload(packed.value_bytes()).unwrap(),
            metadata: Some(backend.upload(packed.metadata_bytes()).unwrap()),
        };
        let why = weight.unpacked(backend, problem(DType::F16, order)).err().unwrap();
        let by_host = packed.unpack(M, K).unwrap_err();
        assert!(matches!(by_host, format::Error::Code { row: 33, col: 96, .. }), "{by_host}");
        assert_eq!(why.to_string(), format!("bad 2:4 data: {by_host}"), "{order}");
    }
}

/// A layer of a weight that is packed on the device gives what one gives of a weight that the host packed.
fn layers<B: Backend>(backend: &B)
where
    B::Buffer: Send + Sync + 'static,
{
    let dense = dense::<f16>();
    let on_device = backend.upload(bytemuck::cast_slice(&dense)).unwrap();
    let matrix = Matrix24::magnitude(&dense, M, K).unwrap();
    let host = LinearLayer::sparse(backend, matrix, None).unwrap();
    let device =
        LinearLayer::packed(backend, on_device, [M as u32, K as u32], DType::F16, None).unwrap();
    assert_eq!((device.m(), device.k()), (host.m(), host.k()));
    let x = Vec::from_iter((0..128).map(|i| f16::from_f32(if i < 100 { 0.25 } else { 0.0 })));
    let run = |mut layer: LinearLayer<B>| {
        let plan = layer.select(backend, 1, DType::F16, Activation::None, false).unwrap().plan;
        let workspace = Some(plan.workspace_bytes()).filter(|bytes| *bytes > 0);
        let operands = Operands {
            x: backend.upload(bytemuck::cast_slice(&x)).unwrap().into(),
            x_scale: None,
            residual: None,
            y: backend.buffer(2 * M as u64).unwrap().into(),
            workspace: workspace.map(|bytes| backend.buffer(bytes).unwrap().into()),
            sum: None,
        };
        let step = layer.step(backend, &plan, &operands).unwrap();
        backend.run(&[step]).unwrap();
        all(backend, &operands.y.buffer)
    };
    let y = run(device);
    assert!(y.iter().any(|byte| *byte != 0));
    assert_eq!(y, run(host));
}

fn everything<B: Backend>(backend: &B)
where
    B::Buffer: Send + Sync + 'static,
{
    as_the_host::<f16, B>(backend);
    as_the_host::<bf16, B>(backend);
    refuses(backend);
    finds_bad_codes(backend);
    layers(backend);
}

#[cfg(feature = "cpu")]
#[test]
fn on_the_cpu() {
    everything(&quickpick::Cpu::new());
}

#[cfg(feature = "wgpu")]
#[test]
fn on_wgpu() {
    if let Some(wgpu) = unless_open("wgpu", quickpick::Wgpu::open()) {
        everything(&wgpu);
    }
}

#[cfg(feature = "cuda")]
#[test]
fn on_cuda() {
    if let Some(cuda) = unless_open("cuda", quickpick::Cuda::open()) {
        everything(&cuda);
    }
}
