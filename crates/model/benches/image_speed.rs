//! How long the vision encoder takes.
//!
//! ```text
//! cargo bench -p puna-model --bench image_speed -- llama4 [--tiles 1,5,17] [--rounds 5] [--threads 2]
//! cargo bench -p puna-model --bench image_speed -- llama3.2
//! cargo bench -p puna-model --bench image_speed -- MODEL [--mmproj FILE]
//! ```
//!
//! `llama4` and `llama3.2` are encoders of the released shapes with random weights in F16, made in memory;
//! else it is that of a checkpoint. Prints, for images of so many tiles, the median time of several rounds
//! with the fastest and the slowest; the operations of linear layers and of attention (two for each product
//! that is added) and what that is per second, as a share of what the same threads reach in f32 from
//! registers alone (before, between and after the rounds: the median and the highest); and how long one
//! layer's linear layers and attention take when they are measured by themselves, times the number of layers.
//! Tiles are measured in turn, round after round.
//!
//! With `--paced` it waits for lines that name a number of tiles and answers each with a line of JSON: what
//! `benches/peers/llama_cpp_vision.py` needs.

// Only the peak in f32 is wanted here.
#[allow(dead_code)]
#[path = "../../kernels/benches/ceilings/mod.rs"]
mod ceilings;
#[path = "../examples/towers/mod.rs"]
mod towers;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ceilings::Ceilings;
use puna_model::{ImageTiles, LoadOptions, Model, Tower, Vision};
use puna_tensor::{AttentionShape, AttentionSpan, Cpu, Graph, Isa, Pool, Workspace};

type Failure = Box<dyn std::error::Error>;

struct Options {
    model: String,
    mmproj: Option<PathBuf>,
    tiles: Vec<usize>,
    rounds: usize,
    threads: usize,
    paced: bool,
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let model = match options.model.as_str() {
        "llama4" => towers::random_model(5120, towers::llama4()),
        "llama3.2" => towers::random_model(4096, towers::llama32()),
        path => {
            let load = LoadOptions { mmproj: options.mmproj.clone(), ..LoadOptions::default() };
            Model::load(Path::new(path), &load)?
        }
    };
    let vision = model.config.vision.as_ref().ok_or("the model does not see images")?;
    let cpu = Cpu::new(Isa::best(), options.threads);
    let bench = Bench { model: &model, vision, cpu: &cpu, workspace: Workspace::default() };
    if options.paced { bench.answer() } else { bench.report(&options) }
}

fn options() -> Result<Options, Failure> {
    // Cargo adds `--bench`.
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let usage =
        "usage: image_speed MODEL [--mmproj FILE] [--tiles N,..] [--rounds N] [--threads N] [--paced]";
    let model = args.next().ok_or(usage)?;
    let tiles = if model == "llama3.2" { vec![1, 4] } else { vec![1, 5, 17] };
    let threads = Pool::default_threads();
    let mut options = Options { model, mmproj: None, tiles, rounds: 5, threads, paced: false };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(usage);
        match arg.as_str() {
            "--mmproj" => options.mmproj = Some(value()?.into()),
            "--tiles" => options.tiles = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
            "--threads" => options.threads = value()?.parse::<usize>()?.max(1),
            "--paced" => options.paced = true,
            _ => return Err(usage.into()),
        }
    }
    Ok(options)
}

struct Bench<'m> {
    model: &'m Model,
    vision: &'m Vision,
    cpu: &'m Cpu,
    workspace: Workspace,
}

/// What an encoder of some tiles has to do.
struct Work {
    /// Rows of activations of a layer, those of all tiles; and rows of keys, where one tile stands for
    /// others.
    rows: usize,
    n_keys: usize,
    /// Which rows attend to which.
    spans: Vec<AttentionSpan>,
    n_layers: usize,
    /// Billions of operations.
    linear_gflop: f64,
    attention_gflop: f64,
}

impl Bench<'_> {
    /// Seconds for an image of so many tiles, the whole one included where there is one.
    fn encode(&self, n_tiles: usize) -> Result<f64, Failure> {
        let tile_len = 3 * self.vision.tile * self.vision.tile;
        let pixels: Vec<f32> = (0..n_tiles * tile_len).map(|i| (i % 511) as f32 / 255.0 - 1.0).collect();
        let grid = match &self.vision.tower {
            Tower::EarlyFusion(_) if n_tiles > 1 => [1, n_tiles - 1],
            Tower::EarlyFusion(_) => [1, 1],
            Tower::CrossAttention(_) => [1, n_tiles],
        };
        let image = ImageTiles { grid, n_tiles, pixels: &pixels };
        let start = Instant::now();
        let mut graph = Graph::inference(self.cpu, &self.workspace);
        let vectors = self.model.encode_image(&mut graph, &image, None)?;
        let seconds = start.elapsed().as_secs_f64();
        if vectors.values().iter().any(|x| !x.is_finite()) {
            return Err("a vector is not finite".into());
        }
        Ok(seconds)
    }

    fn work(&self, n_tiles: usize) -> Work {
        let vision = self.vision;
        let (dim, ffn_dim, tile_rows) = (vision.dim, vision.ffn_dim, vision.tile_rows());
        let decoder_dim = self.model.config.dim;
        let n_vectors = n_tiles * vision.vectors_per_tile();
        let (rows, n_keys, spans, n_layers, adapter) = match &vision.tower {
            Tower::CrossAttention(tower) => {
                let n_real = n_tiles * tile_rows;
                let computed = tower.max_tiles.min(n_tiles + 1);
                let [rows, n_keys] = [computed, tower.max_tiles].map(|n| n * tile_rows.next_multiple_of(8));
                let all = AttentionSpan::all(0..n_real, 0..n_keys);
                let padding = AttentionSpan::all(n_real..rows, 0..n_real);
                (rows, n_keys, vec![all, padding], vision.n_layers + tower.n_global_layers, 0)
            }
            Tower::EarlyFusion(tower) => {
                let of_tile = |tile: usize| tile * tile_rows..(tile + 1) * tile_rows;
                let spans = (0..n_tiles).map(|tile| AttentionSpan::all(of_tile(tile), of_tile(tile)));
                let [hidden, out] = tower.adapter;
                let joined = dim * tower.shuffle * tower.shuffle;
                let rows = n_tiles * tile_rows;
                (rows, rows, spans.collect(), vision.n_layers, joined * hidden + hidden * out)
            }
        };
        let of_layer = 4 * dim * dim + 2 * dim * ffn_dim;
        let of_row = vision.patch_len() * dim + n_layers * of_layer;
        let of_vector = adapter + vision.feature_dim() * decoder_dim;
        let pairs: usize = spans.iter().map(|span| span.queries.len() * span.keys.len()).sum();
        Work {
            rows,
            n_keys,
            spans,
            n_layers,
            linear_gflop: 2e-9 * (rows * of_row + n_vectors * of_vector) as f64,
            attention_gflop: 4e-9 * (pairs * dim * n_layers) as f64,
        }
    }

    /// Seconds that the matrices and that attention of all layers take, by one layer of no more than four
    /// tiles.
    fn parts(&self, n_tiles: usize) -> [f64; 2] {
        let at_once = n_tiles.min(4);
        let Work { rows, n_keys, spans, n_layers, .. } = self.work(at_once);
        let times = n_layers as f64 * n_tiles as f64 / at_once as f64;
        let mut graph = Graph::inference(self.cpu, &self.workspace);
        let dim = self.vision.dim;
        let constant = |graph: &Graph, rows| {
            graph.constant(rows, dim, |h| {
                h.iter_mut().enumerate().for_each(|(i, h)| *h = (i * 7919 % 1009) as f32 / 504.0 - 1.0);
            })
        };
        let (h, keys) = (constant(&graph, rows), constant(&graph, n_keys));
        let layer = &self.model.weights.vision.as_ref().expect("the model sees").layers[0];
        let [wq, wk, wv, wo, fc1, fc2] = layer.matrices();
        let linears = || {
            let start = Instant::now();
            let [q, _, _] = graph.linears(&h, [wq, wk, wv]);
            let sum = graph.add_linear(q, &h, wo);
            let z = graph.linear(&h, fc1);
            graph.add_linear(sum, &z, fc2);
            start.elapsed().as_secs_f64()
        };
        let linears = median(repeat(linears));
        let (n_heads, head_dim) = (self.vision.n_heads, self.vision.head_dim());
        let scale = 1.0 / (head_dim as f32).sqrt();
        let shape = AttentionShape { n_heads, n_kv_heads: n_heads, head_dim, scale };
        let mut graph = Graph::inference(self.cpu, &self.workspace);
        let attention = || {
            let start = Instant::now();
            graph.attention([h.clone(), keys.clone(), keys.clone()], shape, &spans);
            start.elapsed().as_secs_f64()
        };
        [linears * times, median(repeat(attention)) * times]
    }

    fn report(&self, options: &Options) -> Result<(), Failure> {
        println!("{}, {} threads, {}", options.model, options.threads, self.cpu.isa.name());
        let peak = || Ceilings::measure(self.cpu.isa, options.threads).f32_gop_per_s;
        let mut peaks = vec![peak()];
        let mut seconds = vec![Vec::new(); options.tiles.len()];
        self.encode(options.tiles[0])?;
        for _ in 0..options.rounds {
            for (n_tiles, seconds) in options.tiles.iter().zip(&mut seconds) {
                seconds.push(self.encode(*n_tiles)?);
            }
            peaks.push(peak());
        }
        // No number where the peak cannot be measured.
        let peaks: Vec<f64> = peaks.into_iter().map(|peak| peak.unwrap_or(f64::NAN)).collect();
        let highest = peaks.iter().copied().fold(f64::NAN, f64::max);
        let peak = median(peaks);
        println!("f32 peak {peak:.0} GFLOP/s, highest {highest:.0}");
        for (n_tiles, seconds) in options.tiles.iter().zip(seconds) {
            let Work { linear_gflop, attention_gflop, .. } = self.work(*n_tiles);
            let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
            let most = seconds.iter().copied().fold(0.0, f64::max);
            let seconds = median(seconds);
            let rate = (linear_gflop + attention_gflop) / seconds;
            let [linears, attention] = self.parts(*n_tiles);
            println!(
                "{n_tiles:2} tiles: {seconds:.3} s ({least:.3} to {most:.3}); {linear_gflop:.0} GFLOP linear, \
                 {attention_gflop:.0} attention; {rate:.0} GFLOP/s, {:.0} % of the peak, {:.0} % of the highest",
                100.0 * rate / peak,
                100.0 * rate / highest
            );
            println!(
                "          linear layers {linears:.3} s ({:.0} GFLOP/s), attention {attention:.3} s ({:.0} GFLOP/s)",
                linear_gflop / linears,
                attention_gflop / attention
            );
        }
        Ok(())
    }

    fn answer(&self) -> Result<(), Failure> {
        self.encode(1)?;
        println!("{{\"ready\":true}}");
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            if line.trim() == "quit" {
                break;
            }
            println!("{{\"seconds\":{}}}", self.encode(line.trim().parse()?)?);
        }
        Ok(())
    }
}

fn repeat(mut measure: impl FnMut() -> f64) -> Vec<f64> {
    measure();
    (0..5).map(|_| measure()).collect()
}

fn median(mut x: Vec<f64>) -> f64 {
    x.sort_by(f64::total_cmp);
    x[x.len() / 2]
}
