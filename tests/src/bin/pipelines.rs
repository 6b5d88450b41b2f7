//! What pipelines on disk save: the time in which a process compiles every WGSL kernel.
//!
//! `pipelines FOLDER`, twice: the second process finds what the first left in the folder. Drivers keep caches of
//! their own besides; Mesa's goes by `MESA_SHADER_CACHE_DISABLE=true`.
#![forbid(unsafe_code)]

use quickpick::kernels::KERNELS;
use quickpick::{Backend, Wgpu};
use quickpick_tests::shapes;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or("a folder to keep pipelines in is missing")?;
    let wgpu = Wgpu::open()?;
    println!("{}", wgpu.describe());
    println!("{}: {:?}", folder.display(), wgpu.load_pipelines(&folder)?);
    let mut plans = Vec::new();
    for spec in KERNELS.iter().filter(|spec| spec.target.is_wgsl()) {
        let cases = shapes::cases(spec);
        let problem = cases.first().and_then(|(_, makes)| makes.first()).map(|make| make().problem);
        match spec.plan(&problem.ok_or("a kernel without cases")?, wgpu.caps()) {
            Ok(plan) => plans.push(plan),
            Err(why) => println!("{spec} {why}"),
        }
    }
    let start = Instant::now();
    for plan in &plans {
        wgpu.adopt(plan, plan.spec.text().ok_or("a kernel without a text")?)?;
    }
    println!("{} kernels compiled in {:.3} s", plans.len(), start.elapsed().as_secs_f64());
    println!("{} bytes saved", wgpu.save_pipelines()?);
    Ok(())
}
