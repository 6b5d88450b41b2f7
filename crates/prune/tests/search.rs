//! The search over a toy trainer: rewinding is exact, masks hold, a killed search ends the same.

use quickpick_prune::{
    Arm, LayerInfo, Masks, Pattern, Progress, Rules, Run, Schedule, Search, SearchError, Ticket,
    Trainer,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const ROWS: usize = 4;
const COLS: usize = 16;

/// Least squares: W[4×16] and a bias learn a fixed linear map from noisy samples by momentum SGD,
/// with a learning rate that falls with the step.
#[derive(Clone, Default)]
struct Toy {
    weight: Vec<f32>,
    bias: Vec<f32>,
    momentum: Vec<f32>,
    steps: u64,
    cursor: u64,
    masks: Masks,
    /// Steps that may still be taken before the trainer fails, as a kill would.
    fuse: Option<u64>,
    /// Saves that may still be made; the one after leaves half a file.
    save_fuse: Cell<Option<u64>>,
    /// Forgets its masks, as a broken trainer would.
    leaky: bool,
    /// (steps, cursor, weights) before each step.
    log: Vec<(u64, u64, Vec<f32>)>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("toy: {0}")]
struct ToyError(String);

/// A number in [−1, 1) of a seed.
fn noise(seed: u64) -> f32 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((z ^ z >> 32) as u32 >> 8) as f32 / (1 << 23) as f32 - 1.0
}

impl Toy {
    fn sample(at: u64) -> ([f32; COLS], [f32; ROWS]) {
        let x = std::array::from_fn(|j| noise(at * 100 + j as u64));
        let y = std::array::from_fn(|i| {
            let target = |j: usize| noise((1 << 40) + (i * COLS + j) as u64);
            (0..COLS).map(|j| target(j) * x[j]).sum::<f32>() + 0.1 * noise((1 << 41) + at)
        });
        (x, y)
    }

    fn residual(&self, i: usize, x: &[f32], y: &[f32]) -> f32 {
        let row = &self.weight[i * COLS..][..COLS];
        row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + self.bias[i] - y[i]
    }

    fn mask(&mut self) {
        if !self.leaky
            && let Some(mask) = self.masks.get("w")
        {
            mask.apply(&mut self.weight).unwrap();
        }
    }
}

impl Trainer for Toy {
    type Error = ToyError;

    fn describe(&self) -> String {
        "toy".into()
    }

    fn layers(&self) -> Vec<LayerInfo> {
        vec![LayerInfo::new("w", [ROWS, COLS]), LayerInfo::new("w.bias", [ROWS])]
    }

    fn weight(&self, name: &str) -> Result<Vec<f32>, ToyError> {
        match name {
            "w" => Ok(self.weight.clone()),
            "w.bias" => Ok(self.bias.clone()),
            _ => Err(ToyError(format!("no layer {name}"))),
        }
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn init(&mut self, seed: u64) -> Result<(), ToyError> {
        self.weight = (0..ROWS * COLS).map(|i| noise(seed * 1000 + i as u64) / 4.0).collect();
        self.bias = vec![0.0; ROWS];
        self.momentum = vec![0.0; ROWS * COLS];
        (self.steps, self.cursor) = (0, 0);
        self.masks.clear();
        Ok(())
    }

    fn step(&mut self) -> Result<f64, ToyError> {
        if self.fuse == Some(0) {
            return Err(ToyError("killed".into()));
        }
        self.fuse = self.fuse.map(|n| n - 1);
        self.log.push((self.steps, self.cursor, self.weight.clone()));
        let (x, y) = Self::sample(self.cursor);
        let rate = 0.05 / (1.0 + self.steps as f32 / 50.0);
        let mut loss = 0.0;
        for i in 0..ROWS {
            let r = self.residual(i, &x, &y);
            loss += f64::from(r * r);
            self.bias[i] -= rate * r;
            for (j, x) in x.iter().enumerate() {
                let at = i * COLS + j;
                self.momentum[at] = 0.8 * self.momentum[at] + r * x;
                self.weight[at] -= rate * self.momentum[at];
            }
        }
        self.steps += 1;
        self.cursor += 3; // of another size than a step, so that confusing the two shows
        self.mask();
        Ok(loss)
    }

    fn hold(&mut self, masks: &Masks) -> Result<(), ToyError> {
        self.masks = masks.clone();
        self.mask();
        Ok(())
    }

    fn evaluate(&mut self) -> Result<f64, ToyError> {
        let mut loss = 0.0;
        for at in 0..32 {
            let (x, y) = Self::sample((1 << 30) + at);
            loss += (0..ROWS).map(|i| f64::from(self.residual(i, &x, &y)).powi(2)).sum::<f64>();
        }
        Ok(loss / 32.0)
    }

    fn save(&self, path: &Path) -> Result<(), ToyError> {
        let mut bytes = [self.steps, self.cursor].map(u64::to_le_bytes).concat();
        for part in [&self.weight, &self.bias, &self.momentum] {
            bytes.extend(part.iter().flat_map(|v| v.to_le_bytes()));
        }
        let saves = self.save_fuse.get();
        self.save_fuse.set(saves.map(|n| n.saturating_sub(1)));
        let whole = if saves == Some(0) { bytes.len() / 2 } else { bytes.len() };
        fs::File::create_new(path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes[..whole]))
            .map_err(|e| ToyError(e.to_string()))?;
        if whole < bytes.len() { Err(ToyError("killed in save".into())) } else { Ok(()) }
    }

    fn load(&mut self, path: &Path) -> Result<(), ToyError> {
        let bytes = fs::read(path).map_err(|e| ToyError(e.to_string()))?;
        if bytes.len() != 16 + 4 * (2 * ROWS * COLS + ROWS) {
            return Err(ToyError(format!("{} bytes", bytes.len())));
        }
        let (counts, floats) = bytes.split_at(16);
        let counts: Vec<u64> =
            counts.chunks(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect();
        let floats: Vec<f32> =
            floats.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        (self.steps, self.cursor) = (counts[0], counts[1]);
        let n = ROWS * COLS;
        self.weight = floats[..n].to_vec();
        self.bias = floats[n..n + ROWS].to_vec();
        self.momentum = floats[n + ROWS..].to_vec();
        self.masks.clear();
        Ok(())
    }
}

const SCHEDULE: Schedule = Schedule {
    rewind_step: 7,
    total_steps: 40,
    evaluate_every: 10,
    checkpoint_every: 4,
    init_seed: 1,
};

const ARMS: [Arm; 5] = [
    Arm::Dense,
    Arm::Ticket,
    Arm::RandomMask { seed: 5 },
    Arm::ShuffledMask { seed: 5 },
    Arm::FreshInit { seed: 9 },
];

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("quickpick-search-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn search(&self) -> Search<'static> {
        Search::new(&self.0, SCHEDULE, Rules::new(Pattern::TWO_OF_FOUR))
    }

    /// Every file and its bytes.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let read = |entry: std::io::Result<fs::DirEntry>| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
        };
        fs::read_dir(&self.0).unwrap().map(read).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run_all(folder: &Folder, toy: &mut Toy) -> Result<Vec<Run>, SearchError<ToyError>> {
    ARMS.iter().map(|&arm| folder.search().run(toy, arm, &mut |_| {})).collect()
}

#[test]
fn rewinding_is_exact_and_masks_hold() {
    let folder = Folder::new("exact");
    let mut toy = Toy::default();
    let dense = folder.search().run(&mut toy, Arm::Dense, &mut |_| {}).unwrap();
    let dense_log = std::mem::take(&mut toy.log);
    let trained = toy.weight.clone();
    assert_eq!(dense_log.len(), 40);
    assert!(dense.masks.is_empty());

    let ticket = folder.search().run(&mut toy, Arm::Ticket, &mut |_| {}).unwrap();
    let log = std::mem::take(&mut toy.log);
    let mask = &ticket.masks["w"];
    assert_eq!(log.len(), 33, "only the steps after k are taken");
    // θ_k: step, data cursor and, but for the mask, weights of the dense run
    let (steps, cursor, weights) = &dense_log[7];
    let mut masked = weights.clone();
    mask.apply(&mut masked).unwrap();
    assert_eq!(log[0], (*steps, *cursor, masked));
    assert_eq!((*steps, *cursor), (7, 21));
    // after every step
    for (step, _, weights) in &log {
        let dropped = weights.iter().zip(mask.kept()).filter(|(_, kept)| !**kept);
        assert!(dropped.clone().count() == 32 && dropped.clone().all(|(w, _)| *w == 0.0), "{step}");
    }
    // the mask is that of the trained weights
    for (group, kept) in trained.chunks(4).zip(mask.kept().chunks(4)) {
        let least_kept =
            group.iter().zip(kept).filter(|g| *g.1).map(|g| g.0.abs()).fold(f32::MAX, f32::min);
        let most_dropped =
            group.iter().zip(kept).filter(|g| !*g.1).map(|g| g.0.abs()).fold(0.0, f32::max);
        assert!(least_kept >= most_dropped);
    }
    // the same data in the same order
    let cursors = |log: &[(u64, u64, Vec<f32>)]| log.iter().map(|l| (l.0, l.1)).collect::<Vec<_>>();
    assert_eq!(cursors(&log), cursors(&dense_log[7..]));
    assert_eq!(ticket.curve[..7], dense.curve[..7]);
    let steps: Vec<u64> = ticket.curve.iter().map(|p| p.step).collect();
    assert_eq!(steps, (1..=40).collect::<Vec<_>>());
    let measured = ticket.curve.iter().filter(|p| p.validation.is_some());
    assert_eq!(measured.map(|p| p.step).collect::<Vec<_>>(), [7, 10, 20, 30, 40]);
    assert_eq!(Some(ticket.validation), toy.evaluate().ok(), "the trainer is left at the end");

    let loaded = Ticket::load(&folder.0).unwrap();
    assert_eq!(loaded.masks, ticket.masks);
    assert_eq!(loaded.found.layers[0].decision, "pruned");
    assert_eq!(loaded.found.layers[1].decision, "dense: 1 dimensions, not a matrix");
    assert_eq!(fs::read(loaded.rewind).unwrap(), folder.files()["early.state"]);
}

#[test]
fn controls_differ_in_one_thing_only() {
    let folder = Folder::new("controls");
    let mut toy = Toy::default();
    let runs = run_all(&folder, &mut toy).unwrap();
    let [dense, ticket, random, dealt, fresh] = &runs[..] else { panic!() };
    for run in &runs {
        assert_eq!(run.curve.len(), 40, "{:?}", run.arm);
        assert!(run.state.ends_with(format!("{}.state", run.arm.stage())));
    }
    for run in [random, dealt] {
        assert_eq!(run.masks.keys().collect::<Vec<_>>(), ["w"]);
        assert_eq!(run.masks["w"].count(), ticket.masks["w"].count());
        assert_ne!(run.masks, ticket.masks);
        assert_eq!(run.curve[..7], dense.curve[..7]);
    }
    assert_eq!(fresh.masks, ticket.masks);
    assert_ne!(fresh.curve[0], dense.curve[0]);
    // on a linear task the weights that training made large are worth keeping
    assert!(ticket.validation < random.validation);
    assert!(dense.validation < ticket.validation);
}

#[test]
fn a_search_killed_anywhere_ends_in_the_same_bytes() {
    let whole = Folder::new("whole");
    let mut toy = Toy::default();
    let runs = run_all(&whole, &mut toy).unwrap();
    let steps = toy.log.len() as u64;
    assert_eq!(steps, 40 + 3 * 33 + 40);
    let want = whole.files();
    // 7 is prime to the 4 steps between checkpoints: every place between two of them is met
    for kill in (0..steps).step_by(7) {
        let folder = Folder::new(&format!("kill-{kill}"));
        let mut toy = Toy { fuse: Some(kill), ..Toy::default() };
        let e = run_all(&folder, &mut toy).unwrap_err();
        assert!(matches!(e, SearchError::Trainer(ToyError(ref why)) if why == "killed"), "{e}");
        let mut toy = Toy::default();
        let again = run_all(&folder, &mut toy).unwrap();
        assert_eq!(folder.files(), want, "killed at {kill}");
        // a stage that ends between checkpoints loses less than a checkpoint's steps
        assert!(toy.log.len() as u64 <= steps - kill + 3, "killed at {kill}: {}", toy.log.len());
        for (again, run) in again.iter().zip(&runs) {
            assert_eq!((&again.curve, &again.masks), (&run.curve, &run.masks));
        }
    }
}

#[test]
fn a_search_killed_while_it_writes_goes_on() {
    let whole = Folder::new("unwritten-whole");
    run_all(&whole, &mut Toy::default()).unwrap();
    let mut left = Vec::new();
    for saves in 0..5 {
        let folder = Folder::new(&format!("unwritten-{saves}"));
        let mut toy = Toy { save_fuse: Cell::new(Some(saves)), ..Toy::default() };
        assert!(matches!(run_all(&folder, &mut toy), Err(SearchError::Trainer(_))));
        left.extend(folder.files().into_keys().filter(|name| name.ends_with(".tmp")));
        run_all(&folder, &mut Toy::default()).unwrap();
        assert_eq!(folder.files(), whole.files(), "killed in save {saves}");
    }
    let half = ["early.checkpoint", "early.state", "dense.checkpoint", "dense.checkpoint"];
    assert_eq!(left[..4], half.map(|name| format!("{name}.tmp")));
}

#[test]
fn finished_stages_return_at_once() {
    let folder = Folder::new("reuse");
    let runs = run_all(&folder, &mut Toy::default()).unwrap();
    let mut toy = Toy { fuse: Some(0), ..Toy::default() };
    for (arm, run) in ARMS.into_iter().zip(runs) {
        let mut seen = Vec::new();
        let again = folder
            .search()
            .run(&mut toy, arm, &mut |p| match p {
                Progress::Reused { stage } => seen.push(stage.to_owned()),
                other => panic!("{other:?}"),
            })
            .unwrap();
        assert_eq!(again, run);
        assert_eq!(toy.masks, run.masks, "the trainer holds the arm's masks");
        assert_eq!(seen.last(), Some(&arm.stage()));
        assert_eq!(Some(again.validation), toy.evaluate().ok(), "the trainer is left at the end");
    }
}

#[test]
fn progress_tells_where_it_is() {
    let folder = Folder::new("progress");
    let mut toy = Toy { fuse: Some(14), ..Toy::default() };
    let _ = folder.search().run(&mut toy, Arm::Dense, &mut |_| {});
    let mut seen = Vec::new();
    let run = folder.search().run(&mut Toy::default(), Arm::Dense, &mut |p| match p {
        Progress::Step { point, to: 40, .. } => seen.push(format!("{}", point.step)),
        other => seen.push(format!("{other:?}")),
    });
    run.unwrap();
    assert_eq!(seen[0], "Reused { stage: \"early\" }");
    assert_eq!(seen[1], "Begun { stage: \"dense\", from: 12, to: 40 }");
    assert_eq!(seen[2..], (13..=40).map(|s| s.to_string()).collect::<Vec<_>>());
}

#[test]
fn rewinding_to_step_0_is_the_first_lottery() {
    let folder = Folder::new("zero");
    let schedule = Schedule { rewind_step: 0, ..SCHEDULE };
    let search = Search::new(&folder.0, schedule, Rules::new(Pattern::TWO_OF_FOUR));
    let mut toy = Toy::default();
    let run = search.run(&mut toy, Arm::Ticket, &mut |_| {}).unwrap();
    assert_eq!(run.curve.len(), 40);
    let mut fresh = Toy::default();
    fresh.init(1).unwrap();
    fresh.hold(&run.masks).unwrap();
    assert_eq!(toy.log[40], (0, 0, fresh.weight));
}

#[test]
fn a_trainer_that_lets_weights_grow_is_caught() {
    let folder = Folder::new("leak");
    let mut toy = Toy { leaky: true, ..Toy::default() };
    let e = folder.search().run(&mut toy, Arm::Ticket, &mut |_| {}).unwrap_err();
    assert!(matches!(e, SearchError::Leak { ref layer, step: 8, .. } if layer == "w"), "{e}");
    assert!(!folder.files().contains_key("ticket.state"));
}

#[test]
fn what_cannot_be_searched_says_why() {
    let folder = Folder::new("errors");
    let two = Rules::new(Pattern::TWO_OF_FOUR);
    let run = |schedule: Schedule, rules: Rules| {
        let search = Search::new(&folder.0, schedule, rules);
        search
            .run(&mut Toy { fuse: Some(0), ..Toy::default() }, Arm::Dense, &mut |_| {})
            .unwrap_err()
    };
    let late = Schedule { rewind_step: 40, ..SCHEDULE };
    let e = run(late, two.clone());
    assert!(matches!(e, SearchError::Schedule { rewind_step: 40, total_steps: 40 }), "{e}");
    let e = run(SCHEDULE, two.clone().leave("v.*"));
    assert!(matches!(e, SearchError::Unmatched { ref rule } if rule == "v.*"), "{e}");
    let e = run(SCHEDULE, two.clone().leave("w"));
    assert_eq!(
        e.to_string(),
        "no layer to prune:\n  w: dense: excluded by `w`\n  w.bias: dense: 1 dimensions, not a matrix"
    );
    assert!(!folder.0.exists(), "nothing is written before that is known");

    assert!(matches!(run(SCHEDULE, two.clone()), SearchError::Trainer(_)), "killed at once");
    for other in [
        Schedule { total_steps: 41, ..SCHEDULE },
        Schedule { init_seed: 2, ..SCHEDULE },
        Schedule { evaluate_every: 5, ..SCHEDULE },
    ] {
        let e = run(other, two.clone());
        assert!(matches!(e, SearchError::OtherSearch { .. }), "{e}");
    }
    let e = run(SCHEDULE, Rules::new(Pattern::new(1, 4).unwrap()));
    assert!(
        e.to_string().contains(r#"it has `"pattern": "2:4",`, this one `"pattern": "1:4",`"#),
        "{e}"
    );
    // what does not decide the bytes may change
    let e = run(Schedule { checkpoint_every: 1, ..SCHEDULE }, two);
    assert!(matches!(e, SearchError::Trainer(_)), "{e}");
}

#[test]
fn a_damaged_ticket_is_refused() {
    let folder = Folder::new("damaged");
    folder.search().ticket(&mut Toy::default(), &mut |_| {}).unwrap();
    assert!(Ticket::load(&folder.0).is_ok());
    for (file, what) in [("masks.safetensors", "truncated"), ("ticket.json", "EOF while parsing")] {
        let path = folder.0.join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let e = Ticket::load(&folder.0).unwrap_err().to_string();
        assert!(e.contains(what) && e.contains(file), "{e}");
        fs::write(&path, bytes).unwrap();
    }
    fs::remove_file(folder.0.join("early.state")).unwrap();
    let e = Ticket::load(&folder.0).unwrap_err().to_string();
    assert!(e.contains("θ_k is missing"), "{e}");
}
