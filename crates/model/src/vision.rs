//! The encoder that turns images into vectors of the decoder's width.
//!
//! The equations are those of Meta's reference code (llama-models,
//! `models/llama3/multimodal/image_transform.py` and `models/llama4/vision/`), in f32, made of the decoder's
//! own operations.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use puna_tensor::{AttentionShape, AttentionSpan, Gate, Graph, RopeLayout, RopeTable, Var, Weight};

use crate::Model;
use crate::config::{CrossAttentionTower, EarlyFusionTower, Tower, Vision};
use crate::error::ModelError;
use crate::weights::{Linear, TileWeights, VisionLayer, VisionWeights};

/// An image as tiles of normalised pixels.
#[derive(Clone, Copy, Debug)]
pub struct ImageTiles<'a> {
    /// Rows and columns of tiles.
    pub grid: [usize; 2],
    /// Tiles; one more than the grid has where the whole image is one, which is then the last.
    pub n_tiles: usize,
    /// `[n_tiles, 3, tile, tile]`.
    pub pixels: &'a [f32],
}

/// Is told how many of all layers are done; with `Break` no more are.
pub type OnLayer<'a> = &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>;

/// Tiles that are encoded at a time where each is by itself: enough for products to be fast, few for memory.
const TILES_AT_ONCE: usize = 4;
/// Tokens of a tile that sees others are padded to a multiple of this.
const TILE_MULTIPLE: usize = 8;

impl Model {
    /// What the decoder sees of an image: `[vectors, dim]`. Of Llama 3.2 these are all rows of each real
    /// tile; of Llama 4 the vectors that take the place of patch tokens.
    ///
    /// Fails if the model has no vision encoder, or the image does not fit it.
    pub fn encode_image<'m>(
        &'m self,
        graph: &mut Graph<'m>,
        image: &ImageTiles,
        on_layer: Option<OnLayer>,
    ) -> Result<Var, ModelError> {
        let features = self.image_features(graph, image, on_layer)?;
        let weights = self.weights.vision.as_ref().expect("as there were features");
        let vectors = weights.projection.apply(graph, &features);
        self.check_files()?;
        Ok(vectors)
    }

    /// The encoder's result before it is projected: `[vectors, feature_dim]`.
    pub fn image_features<'m>(
        &'m self,
        graph: &mut Graph<'m>,
        image: &ImageTiles,
        on_layer: Option<OnLayer>,
    ) -> Result<Var, ModelError> {
        let (Some(vision), Some(weights)) = (&self.config.vision, &self.weights.vision) else {
            return Err(ModelError::Input("the model does not see images".into()));
        };
        vision.check_image(image).map_err(ModelError::Input)?;
        let mut done = Done { n: 0, of: 0, on_layer };
        match (&vision.tower, &weights.tiles, &weights.adapter) {
            (Tower::CrossAttention(tower), Some(tiles), _) => {
                let n_tiles = match graph.is_training() {
                    true => tower.max_tiles,
                    false => tiles_to_encode(vision, tower, tiles, image),
                };
                CrossAttentionEncoder { vision, tower, weights, tiles, image, n_tiles }.run(graph, &mut done)
            }
            (Tower::EarlyFusion(tower), _, Some(adapter)) => {
                let tile_len = 3 * vision.tile * vision.tile;
                let at_once = if graph.is_training() { image.n_tiles } else { TILES_AT_ONCE };
                let parts = image.pixels.chunks(at_once * tile_len);
                done.of = parts.len() * weights.layers.len();
                let parts: Vec<Var> = parts
                    .map(|pixels| {
                        encode_tiles_alone(graph, vision, tower, weights, adapter, pixels, &mut done)
                    })
                    .collect::<Result<_, _>>()?;
                Ok(if parts.len() == 1 { parts[0].clone() } else { graph.stack_rows(&parts) })
            }
            _ => unreachable!("weights are bound by the configuration"),
        }
    }
}

/// How many layers are done, for whoever waits.
struct Done<'a> {
    n: usize,
    of: usize,
    on_layer: Option<OnLayer<'a>>,
}

impl Done<'_> {
    fn one_more(&mut self) -> Result<(), ModelError> {
        self.n += 1;
        match self.on_layer.as_mut().map(|on_layer| on_layer(self.n, self.of)) {
            Some(ControlFlow::Break(())) => Err(ModelError::Stopped),
            _ => Ok(()),
        }
    }
}

impl Vision {
    fn check_image(&self, image: &ImageTiles) -> Result<(), String> {
        let ImageTiles { grid: [h, w], n_tiles, pixels } = *image;
        let in_grid = h.saturating_mul(w);
        let whole = matches!(self.tower, Tower::EarlyFusion(_)) && in_grid > 1;
        let fits = match &self.tower {
            Tower::CrossAttention(tower) => tower.grids.contains(&[h, w]),
            Tower::EarlyFusion(_) => in_grid > 0 && in_grid <= self.max_tiles(),
        };
        if !fits || n_tiles != in_grid + usize::from(whole) {
            return Err(format!("an image of {h} x {w} tiles, {n_tiles} in all, does not fit the model"));
        }
        let expected = n_tiles * 3 * self.tile * self.tile;
        if pixels.len() != expected {
            return Err(format!("an image of {n_tiles} tiles has {expected} values, not {}", pixels.len()));
        }
        Ok(())
    }

    /// Rows of patches, each its values by colour, row and column, of tiles that begin every `rows` rows; the
    /// first patch of a tile is its row `first`. All other rows are zeros.
    fn patches(&self, graph: &Graph, pixels: &[f32], n_rows: usize, first: usize) -> Var {
        let (tile, patch, side, len) = (self.tile, self.patch, self.side(), self.patch_len());
        graph.constant(n_rows, len, |out| {
            out.fill(0.0);
            let tiles = pixels.chunks_exact(3 * tile * tile).zip(out.chunks_mut(self.tile_rows() * len));
            for (pixels, rows) in tiles {
                for (i, out) in rows[first * len..].chunks_exact_mut(len).take(side * side).enumerate() {
                    let corner = i / side * patch * tile + i % side * patch;
                    for (line, out) in out.chunks_exact_mut(patch).enumerate() {
                        let at = line / patch * tile * tile + corner + line % patch * tile;
                        out.copy_from_slice(&pixels[at..at + patch]);
                    }
                }
            }
        })
    }

    fn attention_shape(&self) -> AttentionShape {
        let (n_heads, head_dim) = (self.n_heads, self.head_dim());
        AttentionShape { n_heads, n_kv_heads: n_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() }
    }

    /// One layer: a pre-norm residual block.
    fn layer<'m>(&self, graph: &mut Graph<'m>, x: Var, w: &'m VisionLayer, view: &View) -> Var {
        let [attention_gate, ffn_gate] = match &w.gates {
            Some(gates) => gates.each_ref().map(Gate::Tanh),
            None => [Gate::Open; 2],
        };
        let h = graph.layer_norm(&x, w.norm1.each_ref(), self.norm_eps);
        let [q, k, v] = graph.linears(&h, [&w.wq.weight, &w.wk.weight, &w.wv.weight]); // [rows, dim]
        let biased = [(q, &w.wq.bias), (k, &w.wk.bias), (v, &w.wv.bias)];
        let [mut q, mut k, mut v] = biased.map(|(x, bias)| match bias {
            Some(bias) => graph.add_bias(x, bias),
            None => x,
        });
        if let Some(table) = &view.rope {
            q = graph.rope(q, self.n_heads, table, RopeLayout::Interleaved);
            k = graph.rope(k, self.n_heads, table, RopeLayout::Interleaved);
        }
        if let Some(rows) = &view.keys {
            (k, v) = (graph.take_rows(&k, rows), graph.take_rows(&v, rows));
        }
        let o = graph.attention([q, k, v], self.attention_shape(), &view.spans);
        let x = w.wo.add_to(graph, x, &o, attention_gate);
        let h = graph.layer_norm(&x, w.norm2.each_ref(), self.norm_eps);
        let z = w.fc1.apply(graph, &h); // [rows, ffn_dim]
        let z = graph.gelu(z);
        w.fc2.add_to(graph, x, &z, ffn_gate)
    }
}

/// How tokens see each other in every layer.
struct View {
    /// Which tokens see which keys.
    spans: Vec<AttentionSpan>,
    rope: Option<Arc<RopeTable>>,
    /// The tokens that the keys are of, if not all in order.
    keys: Option<Vec<usize>>,
}

impl Linear {
    fn apply<'m>(&'m self, graph: &mut Graph<'m>, x: &Var) -> Var {
        let y = graph.linear(x, &self.weight);
        match &self.bias {
            Some(bias) => graph.add_bias(y, bias),
            None => y,
        }
    }

    /// `x` plus what the layer makes of `y`, through a gate.
    fn add_to<'m>(&'m self, graph: &mut Graph<'m>, x: Var, y: &Var, gate: Gate<'m>) -> Var {
        if !matches!(gate, Gate::Open) {
            let y = self.apply(graph, y);
            return graph.add_gated(x, &y, gate);
        }
        let x = graph.add_linear(x, y, &self.weight);
        match &self.bias {
            Some(bias) => graph.add_bias(x, bias),
            None => x,
        }
    }
}

/// How many tiles of all that see each other must be computed: padding tiles differ in nothing but their
/// entries in the tables of tiles, which are zeros in released models, so one stands for all of them.
fn tiles_to_encode(
    vision: &Vision,
    tower: &CrossAttentionTower,
    tiles: &TileWeights,
    image: &ImageTiles,
) -> usize {
    let padding = image.n_tiles..tower.max_tiles;
    let alike = |table: &Weight, per_tile: usize| {
        let rows = |tile| tower.entry(image.grid, tile).map(|entry| entry * per_tile..(entry + 1) * per_tile);
        let first = rows(padding.start);
        padding.clone().all(|tile| match (&first, rows(tile)) {
            (Some(first), Some(rows)) => first.clone().zip(rows).all(|(a, b)| equal_rows(table, a, b)),
            (first, rows) => first.is_none() && rows.is_none(),
        })
    };
    let all_alike =
        alike(&tiles.pre[0], 1) && alike(&tiles.positions, vision.tile_rows()) && alike(&tiles.post[0], 1);
    if all_alike { tower.max_tiles.min(image.n_tiles + 1) } else { tower.max_tiles }
}

fn equal_rows(table: &Weight, a: usize, b: usize) -> bool {
    let row = |i: usize| {
        let mut row = vec![0.0; table.cols()];
        table.decode_stored_row(i, &mut row);
        row
    };
    a == b || row(a) == row(b)
}

/// Tiles that see each other: their rows are those of all tiles, padding tiles included, each a class token
/// and its patches; after them what pads every tile's rows to a multiple of eight.
struct CrossAttentionEncoder<'a, 'm> {
    vision: &'m Vision,
    tower: &'m CrossAttentionTower,
    weights: &'m VisionWeights,
    tiles: &'m TileWeights,
    image: &'a ImageTiles<'a>,
    /// Those computed; the last of them stands for all after it.
    n_tiles: usize,
}

impl<'m> CrossAttentionEncoder<'_, 'm> {
    fn run(&self, graph: &mut Graph<'m>, done: &mut Done) -> Result<Var, ModelError> {
        let Self { vision, tower, weights, tiles, image, n_tiles } = *self;
        let (tile_rows, padding) = (vision.tile_rows(), self.padding());
        let view = self.view();

        let x = self.embed(graph);
        let mut x = graph.with_zero_rows(&x, n_tiles * padding);
        let mut kept = Vec::new();
        done.of = weights.layers.len() + tiles.global.len();
        let real: Vec<usize> = (0..image.n_tiles * tile_rows).collect();
        for (i, layer) in weights.layers.iter().enumerate() {
            if tower.intermediate.contains(&i) {
                kept.push(graph.take_rows(&x, &real));
            }
            x = vision.layer(graph, x, layer, &view);
            done.one_more()?;
        }
        x = graph.layer_norm(&x, weights.norm_post.each_ref(), vision.norm_eps);
        let of_tile = |tile| tower.entry(image.grid, tile);
        let in_tiles = (0..n_tiles * tile_rows).map(|row| of_tile(row / tile_rows));
        let after_them = (0..n_tiles * padding).map(|row| of_tile(row / padding));
        let entries = in_tiles.chain(after_them).collect();
        x = graph.add_entries(x, &tiles.post[0], entries, Gate::Tanh(&tiles.post[1]));
        for layer in &tiles.global {
            x = vision.layer(graph, x, layer, &view);
            done.one_more()?;
        }
        let x = graph.take_rows(&x, &real);
        Ok(graph.interleave_columns(&x, &kept)) // [real rows, dim * (1 + kept)]
    }

    /// Rows that pad those of a tile.
    fn padding(&self) -> usize {
        let tile_rows = self.vision.tile_rows();
        tile_rows.next_multiple_of(TILE_MULTIPLE) - tile_rows
    }

    /// Real tokens see all, padding sees real tokens alone. A tile that stands for others is seen once for
    /// each of them.
    fn view(&self) -> View {
        let (tile_rows, padding) = (self.vision.tile_rows(), self.padding());
        let (n_tiles, max_tiles) = (self.n_tiles, self.tower.max_tiles);
        let n_real = self.image.n_tiles * tile_rows;
        let [n_rows, n_keys] = [n_tiles, max_tiles].map(|tiles| tiles * (tile_rows + padding));
        let mut spans = vec![AttentionSpan::all(0..n_real, 0..n_keys)];
        if n_real < n_rows {
            spans.push(AttentionSpan::all(n_real..n_rows, 0..n_real));
        }
        let computed = |tile: usize| tile.min(n_tiles - 1);
        let in_tiles =
            (0..max_tiles * tile_rows).map(|row| computed(row / tile_rows) * tile_rows + row % tile_rows);
        let after_them = (0..max_tiles * padding)
            .map(|row| n_tiles * tile_rows + computed(row / padding) * padding + row % padding);
        let keys = (n_tiles < max_tiles).then(|| in_tiles.chain(after_them).collect());
        View { spans, rope: None, keys }
    }

    /// Patches and class tokens with their positions: `[n_tiles * tile_rows, dim]`.
    fn embed(&self, graph: &mut Graph<'m>) -> Var {
        let Self { vision, tower, weights, tiles, image, n_tiles } = *self;
        let tile_rows = vision.tile_rows();
        let n_rows = n_tiles * tile_rows;
        let entry = |row: usize| tower.entry(image.grid, row / tile_rows);
        let is_class = |row: usize| row.is_multiple_of(tile_rows);
        let by_row = |f: &dyn Fn(usize) -> Option<usize>| (0..n_rows).map(f).collect::<Vec<_>>();

        let patches = vision.patches(graph, image.pixels, n_rows, 1);
        let x = graph.linear(&patches, &weights.patch_embedding);
        let entries = by_row(&|row| entry(row).filter(|_| !is_class(row)));
        let x = graph.add_entries(x, &tiles.pre[0], entries, Gate::Tanh(&tiles.pre[1]));
        let class = by_row(&|row| is_class(row).then_some(0));
        let x = graph.add_entries(x, &weights.class_embedding, class, Gate::Open);
        let gate = &tiles.positions_gate;
        let in_tile = by_row(&|row| Some(row % tile_rows));
        let x = graph.add_entries(x, &weights.positions, in_tile, Gate::OneMinusTanh(gate));
        let in_place = by_row(&|row| Some(entry(row)? * tile_rows + row % tile_rows));
        let x = graph.add_entries(x, &tiles.positions, in_place, Gate::Tanh(gate));
        graph.layer_norm(&x, weights.norm_pre.each_ref(), vision.norm_eps)
    }
}

/// Tiles by themselves, each its patches and, last, a class token: `[vectors of all tiles, adapter's width]`.
fn encode_tiles_alone<'m>(
    graph: &mut Graph<'m>,
    vision: &'m Vision,
    tower: &EarlyFusionTower,
    weights: &'m VisionWeights,
    adapter: &'m [Weight; 2],
    pixels: &[f32],
    done: &mut Done,
) -> Result<Var, ModelError> {
    let (tile_rows, side) = (vision.tile_rows(), vision.side());
    let n_tiles = pixels.len() / (3 * vision.tile * vision.tile);
    let n_rows = n_tiles * tile_rows;
    let is_class = |row: &usize| row % tile_rows == tile_rows - 1;
    let spans: Vec<_> = (0..n_tiles)
        .map(|tile| tile * tile_rows..(tile + 1) * tile_rows)
        .map(|rows: Range<usize>| AttentionSpan::all(rows.clone(), rows))
        .collect();
    let view = View { spans, rope: Some(Arc::new(rope_table(vision, tower, n_tiles))), keys: None };

    let patches = vision.patches(graph, pixels, n_rows, 0);
    let x = graph.linear(&patches, &weights.patch_embedding);
    let class = (0..n_rows).map(|row| is_class(&row).then_some(0)).collect();
    let x = graph.add_entries(x, &weights.class_embedding, class, Gate::Open);
    let in_tile = (0..n_rows).map(|row| Some(row % tile_rows)).collect();
    let x = graph.add_entries(x, &weights.positions, in_tile, Gate::Open);
    let mut x = graph.layer_norm(&x, weights.norm_pre.each_ref(), vision.norm_eps);
    for layer in &weights.layers {
        x = vision.layer(graph, x, layer, &view);
        done.one_more()?;
    }
    let x = graph.layer_norm(&x, weights.norm_post.each_ref(), vision.norm_eps);

    // Pixel shuffle: squares of patches, row by row, side by side in one vector.
    let n = tower.shuffle;
    let squares = (0..(side / n) * (side / n)).map(|i| (i / (side / n) * n, i % (side / n) * n));
    let in_square = |(row, col): (usize, usize)| (0..n * n).map(move |i| (row + i / n) * side + col + i % n);
    let in_tile: Vec<usize> = squares.flat_map(in_square).collect();
    let rows: Vec<usize> =
        (0..n_tiles).flat_map(|tile| in_tile.iter().map(move |row| tile * tile_rows + row)).collect();
    let x = graph.take_rows(&x, &rows);
    let x = graph.join_rows(&x, n * n); // [vectors, dim * shuffle²]
    let x = graph.linear(&x, &adapter[0]);
    let x = graph.gelu(x);
    let x = graph.linear(&x, &adapter[1]);
    Ok(graph.gelu(x))
}

/// The first half of a head's pairs turns with the column, the second with the row, both counted from one;
/// the class token does not turn.
fn rope_table(vision: &Vision, tower: &EarlyFusionTower, n_tiles: usize) -> RopeTable {
    let (side, head_dim) = (vision.side(), vision.head_dim());
    let n = head_dim / 4;
    let freqs: Vec<f32> =
        (0..n).map(|j| tower.rope_theta.powf(-4.0 * j as f64 / head_dim as f64) as f32).collect();
    let angles = |row: usize, col: usize| -> Vec<f32> {
        let turned = |by: usize| freqs.iter().map(move |freq| by as f32 * freq);
        turned(col + 1).chain(turned(row + 1)).collect()
    };
    let mut of_tile: Vec<Vec<f32>> = (0..side * side).map(|i| angles(i / side, i % side)).collect();
    of_tile.push(vec![0.0; 2 * n]);
    RopeTable::new((0..n_tiles).flat_map(|_| of_tile.iter().map(|angles| (1, angles.as_slice()))))
}
