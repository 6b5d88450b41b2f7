use quickpick_prune::*;
use quickpick_transformer::checkpoint::gguf::Gguf;
use quickpick_transformer::oneshot::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let g = Gguf::open(args[1].as_ref()).unwrap();
    let config = g.config().unwrap();
    let n: usize = args[3].parse().unwrap();
    let ids: Vec<u32> = (0..n * 512)
        .map(|i| ((i as u64).wrapping_mul(0x9E3779B97F4A7C15) >> 40) as u32 % 49000)
        .collect();
    let seqs = draw(&ids, n, 512, 1).unwrap();
    let mut config = config;
    config.layers = args[4].parse().unwrap();
    let llama = Llama::new(&config, 512).unwrap();
    let job = Job {
        method: args[2].parse().unwrap(),
        rules: Rules::new(Pattern::TWO_OF_FOUR),
        narrow: Narrow::F16,
    };
    let folder = RunFolder::open("/tmp/scratch.run".as_ref(), &(), Existing::Discard).unwrap();
    let t = std::time::Instant::now();
    let reports = run(&llama, &g, &seqs, &job, &folder, &mut |p| {
        println!("{:.1} {} {}", t.elapsed().as_secs_f64(), p.block, p.what)
    })
    .unwrap();
    for r in reports {
        let p = r.pruned.unwrap();
        println!("{} {:.4} {:.2}s", r.name, p.error, p.seconds);
    }
    println!("{:.1}", t.elapsed().as_secs_f64());
}
