//! Models written in every form that can say them, and read back: the same numbers.
//!
//! Meta's folders of Llama 4 and of models that see images are not among the fixtures, so they are written
//! here: once as one file by the program, and once more cut into two shards by rules of this test's own.

mod common;

use std::path::Path;

use puna_conformance::{fixtures, skip};
use puna_formats::gguf::{self, Array, Metadata, Value};
use puna_formats::pth::{self, PthWriter};
use puna_formats::{TensorInfo, TensorMap};
use puna_model::names::reorder_rotary;
use puna_model::rope::RopeScaling;
use puna_model::{
    CrossAttentionTower, ImageTiles, Input, LoadOptions, Model, PlacedImage, Sequences, TileTables, Tower,
    Vision,
};
use puna_tensor::{Cpu, DType, Graph, Isa, RopeLayout, Weight, Workspace};

use common::{assert_within, load};

/// The fixtures' models that have experts or see images, with numbers that `params.json` can say.
fn models() -> Vec<(String, Model)> {
    let fixtures = fixtures();
    let names = ["golden/manifest.text.json", "golden/manifest.vision.json"].map(|name| fixtures.json(name));
    let entries = names.iter().flatten().flat_map(|manifest| manifest.as_object().unwrap());
    let open = |(name, entry): (&String, &serde_json::Value)| {
        let mut model = load(&fixtures.path(entry["model_dir"].as_str().unwrap()));
        if let RopeScaling::Llama3 { original, low_freq_factor, .. } = &mut model.config.rope_scaling {
            (*original, *low_freq_factor) = (8192.0, 1.0);
        }
        make_tables_agree(&mut model);
        (name.clone(), model)
    };
    let models = entries.map(open);
    models.filter(|(_, m)| m.config.is_llama4() || m.config.vision.is_some()).collect()
}

/// Tables of tiles that Meta's form can say: what a tile's place is worth does not depend on the arrangement.
fn make_tables_agree(model: &mut Model) {
    let Some(Vision { tower: Tower::CrossAttention(tower), .. }) = &model.config.vision else { return };
    let by_place = CrossAttentionTower { tables: TileTables::ByPlace, ..tower.clone() };
    let tiles = model.weights.vision.as_mut().unwrap().tiles.as_mut().unwrap();
    for table in [&mut tiles.positions, &mut tiles.pre[0], &mut tiles.post[0]] {
        table.make_trainable();
        let values = table.values_mut().unwrap();
        let before = values.to_vec();
        let len = before.len() / tower.n_entries();
        values.fill(0.0);
        for grid in &tower.grids {
            for tile in 0..grid[0] * grid[1] {
                let [own, place] = [tower, &by_place].map(|t| t.entry(*grid, tile).unwrap());
                // Whatever lies there, as long as it is the place's alone.
                let entry = tower.max_tiles + place % (tower.n_entries() - tower.max_tiles);
                let source = &before[entry * len..][..len];
                values[own * len..(own + 1) * len].copy_from_slice(source);
            }
        }
    }
}

/// Logits of some tokens, among them an image where the model sees.
fn logits(model: &Model) -> Vec<f32> {
    let cpu = Cpu::new(Isa::best(), 2);
    let mut graph = Graph::inference(&cpu, &Workspace::default());
    let vision = model.config.vision.as_ref();
    let words = vision.map_or(u32::MAX, |vision| vision.image_token).min(model.config.vocab_size as u32);
    let word = |i: u32| (3 + i * 5) % words;
    let mut tokens: Vec<u32> = (0..40).map(word).collect();
    let mut images = Vec::new();
    if let Some(vision) = vision {
        let len = 3 * vision.tile * vision.tile;
        let (grid, n_tiles) = match &vision.tower {
            // One that leaves a tile empty, if there is one.
            Tower::CrossAttention(tower) => {
                let n_tiles = |grid: &[usize; 2]| grid[0] * grid[1];
                let leaves_one = tower.grids.iter().rev().find(|grid| n_tiles(grid) < tower.max_tiles);
                let grid = *leaves_one.unwrap_or(&tower.grids[0]);
                (grid, n_tiles(&grid))
            }
            Tower::EarlyFusion(_) => ([1, 2], 3),
        };
        let pixels: Vec<f32> = (0..n_tiles * len).map(|i| (i as f32 * 0.37).sin()).collect();
        let vectors =
            model.encode_image(&mut graph, &ImageTiles { grid, n_tiles, pixels: &pixels }, None).unwrap();
        let n = if matches!(vision.tower, Tower::CrossAttention(_)) { 1 } else { vectors.rows() };
        let at: Vec<usize> = (7..7 + n).collect();
        tokens.extend((40..).map(word).take(n.saturating_sub(20)));
        at.iter().for_each(|at| tokens[*at] = vision.image_token);
        images.push(PlacedImage { tokens: at, vectors, first: 0 });
    }
    let input = Input { tokens: &tokens, images: &images };
    let whole = 0..tokens.len();
    model.forward(&mut graph, input, Sequences::Whole(&[whole]), None, None).unwrap().values().to_vec()
}

/// What `params.json` leaves to the code, of a tiny model.
fn what_is_known(model: &Model) -> LoadOptions {
    let mut vision = model.config.vision.clone();
    if let Some(Vision { tower: Tower::CrossAttention(tower), .. }) = &mut vision {
        tower.tables = TileTables::ByPlace;
    }
    LoadOptions { vision, ..LoadOptions::default() }
}

#[test]
fn conformance_hugging_face_folders_of_every_generation() {
    for (name, model) in models() {
        let dir = tempfile::tempdir().unwrap();
        model.save_hf(dir.path(), DType::F32).unwrap();
        let read = load(dir.path());
        assert_eq!(read.config, model.config, "{name}");
        assert!(logits(&read) == logits(&model), "{name}");
    }
}

#[test]
fn conformance_metas_folders_of_every_generation() {
    for (name, model) in models() {
        let mut model = with_even_vocabulary(model);
        make_layers_regular(&mut model, None);
        let dir = tempfile::tempdir().unwrap();
        if let Err(error) = model.save_meta(dir.path(), DType::F32) {
            let cannot = error.to_string();
            assert!(cannot.contains("params.json cannot say"), "{name}: {cannot}");
            skip(format!("Meta's form of {name}"), cannot);
            continue;
        }
        let options = what_is_known(&model);
        let read = Model::load(dir.path(), &options).unwrap();
        // Queries and keys of Llama 3.2 turn in another order, whose sums round otherwise.
        assert_near(&logits(&read), &logits(&model), &name);
        assert_eq!(read.config.layer_kinds, model.config.layer_kinds);

        let mut shards = read.clone();
        if has_even_sizes(&model) {
            let two = tempfile::tempdir().unwrap();
            std::fs::copy(dir.path().join("params.json"), two.path().join("params.json")).unwrap();
            split(&pth::open(&dir.path().join("consolidated.00.pth")).unwrap(), &model, two.path());
            shards = Model::load(two.path(), &options).unwrap();
            assert!(logits(&shards) == logits(&read), "{name} in two shards");
        } else {
            skip(format!("{name} in two shards"), "its rows and columns are not all of an even number");
        }

        // And from there to Hugging Face's form again.
        let back = tempfile::tempdir().unwrap();
        shards.save_hf(back.path(), DType::F32).unwrap();
        assert_near(&logits(&load(back.path())), &logits(&model), &name);
    }
}

/// Equal but for the rounding of sums that are taken in another order: a few dozen roundings of the largest
/// logit.
#[track_caller]
fn assert_near(got: &[f32], want: &[f32], what: &str) {
    let largest = want.iter().fold(0f32, |max, x| max.max(x.abs()));
    assert_within(got, want, f64::from(32.0 * f32::EPSILON * largest), what);
}

#[test]
fn conformance_gguf_files_of_llama_4() {
    for (name, mut model) in models() {
        model.config.vision = None;
        model.weights.vision = None;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        let save = |model: &Model| model.save_gguf(&path, Metadata::new(&path), DType::F32);
        if !model.config.is_llama4() {
            assert!(save(&model).is_err(), "{name} has layers that attend to images");
            continue;
        }
        // What llama.cpp knows without being told is all that a file can mean.
        let own = model.config.clone();
        model.config.attention_chunk = Some(8192);
        model.config.qk_norm = own.experts.n != 128;
        model.config.attention_temperature = Some(puna_model::Temperature { floor: 8192.0, scale: 0.1 });
        make_layers_regular(&mut model, Some(4));
        let known = std::mem::replace(&mut model.config, own.clone());
        if known != own {
            assert!(save(&model).is_err(), "{name}");
            model.config = known;
        }
        if let Err(error) = save(&model) {
            skip(format!("{name} as GGUF"), error);
            continue;
        }
        // Scaled frequencies are stored as divisors of the plain ones, and rounded.
        let (got, want) = (logits(&load(&path)), logits(&model));
        match model.config.rope_scaling {
            RopeScaling::None => assert!(got == want, "{name}"),
            _ => assert_near(&got, &want, &name),
        }
    }
}

/// Whether two shards have equally many of all rows and columns that are split.
fn has_even_sizes(model: &Model) -> bool {
    let config = &model.config;
    let text = [config.q_dim(), config.kv_dim(), config.ffn_dim, config.experts.ffn_dim];
    let vision = config.vision.iter().flat_map(|vision| match &vision.tower {
        Tower::CrossAttention(_) => vec![vision.dim, vision.ffn_dim, config.n_extra_embeddings],
        Tower::EarlyFusion(tower) => [&[vision.dim, vision.ffn_dim], &tower.adapter[..]].concat(),
    });
    text.into_iter().chain(vision).all(|size| size.is_multiple_of(2))
}

/// The layers without rotation every so many layers: `interval`, or as the first of them has it. Which layers
/// have experts stays as it is, for that is in the weights.
fn make_layers_regular(model: &mut Model, interval: Option<usize>) {
    let config = &mut model.config;
    let first = config.layer_kinds.iter().position(|layer| layer.no_rope);
    let interval = interval.or(first.map(|first| first + 1));
    for (i, layer) in config.layer_kinds.iter_mut().enumerate() {
        layer.no_rope = interval.is_some_and(|interval| (i + 1).is_multiple_of(interval));
        layer.chunked = !layer.no_rope && config.attention_chunk.is_some();
    }
}

/// The model with a token more where their number is odd: two shards have equally many.
fn with_even_vocabulary(mut model: Model) -> Model {
    let vocab_size = model.config.vocab_size;
    if vocab_size.is_multiple_of(2) {
        return model;
    }
    let tables = [Some(&mut model.weights.tok_embeddings), model.weights.output.as_mut()];
    for weight in tables.into_iter().flatten() {
        let (cols, mut values) = (weight.cols(), weight.to_f32());
        let at = vocab_size * cols;
        values.splice(at..at, vec![0.25; cols]);
        *weight = Weight::owned(weight.id(), weight.rows() + 1, cols, values);
    }
    model.config.vocab_size += 1;
    // What stands for an image may be behind the vocabulary.
    if let Some(vision) =
        model.config.vision.as_mut().filter(|vision| vision.image_token as usize >= vocab_size)
    {
        vision.image_token += 1;
    }
    model
}

/// Files as Ollama makes them of Llama 3.2 Vision: its names, and gates after their tangent. The encoder is
/// in the same file, or in one of its own.
#[test]
fn conformance_gguf_files_of_llama_3_2_vision() {
    for (name, model) in models() {
        let Some(vision) = &model.config.vision else { continue };
        let Tower::CrossAttention(tower) = &vision.tower else { continue };
        if (tower.max_tiles, &tower.grids[..]) != (4, &RELEASED_GRIDS) {
            skip(
                format!("{name} as Ollama's GGUF"),
                "that form cannot say which arrangements of tiles it has",
            );
            continue;
        }
        let (config, dir) = (&model.config, tempfile::tempdir().unwrap());
        let path = |file: &str| dir.path().join(file);
        model.save_hf(dir.path(), DType::F32).unwrap();
        let tensors = puna_formats::safetensors::open(&path("model.safetensors")).unwrap().tensors;
        let count = |n: usize| Value::U32(n as u32);
        let list = |values: &[usize]| Value::Array(Array::I32(values.iter().map(|v| *v as i32).collect()));
        let mut text = Metadata::new(&path("model.gguf"));
        text.set("general.architecture", Value::String("mllama".into()));
        let mut encoder = text.clone();
        for (key, n) in [
            ("block_count", config.n_layers),
            ("context_length", config.max_seq_len),
            ("embedding_length", config.dim),
            ("feed_forward_length", config.ffn_dim),
            ("attention.head_count", config.n_heads),
            ("attention.head_count_kv", config.n_kv_heads),
        ] {
            text.set(format!("mllama.{key}"), count(n));
        }
        text.set("mllama.attention.layer_norm_rms_epsilon", Value::F32(config.norm_eps));
        text.set("mllama.rope.freq_base", Value::F32(config.rope_theta as f32));
        text.set("mllama.attention.cross_attention_layers", list(&config.cross_layers));
        for (key, n) in [
            ("block_count", vision.n_layers),
            ("global.block_count", tower.n_global_layers),
            ("embedding_length", vision.dim),
            ("feed_forward_length", vision.ffn_dim),
            ("attention.head_count", vision.n_heads),
            ("image_size", vision.tile),
            ("patch_size", vision.patch),
            ("max_num_tiles", tower.max_tiles),
        ] {
            encoder.set(format!("mllama.vision.{key}"), count(n));
        }
        encoder.set("mllama.vision.attention.layer_norm_epsilon", Value::F32(vision.norm_eps));
        encoder.set("mllama.vision.intermediate_layers_indices", list(&tower.intermediate));
        let mut both = text.clone();
        encoder.iter().for_each(|(key, value)| both.set(key, value.clone()));

        let frequencies = |scaling: &RopeScaling| {
            puna_model::rope::inv_freq(config.head_dim, config.rope_theta, scaling, 1)
        };
        let divisors: Vec<u8> = frequencies(&RopeScaling::None)
            .iter()
            .zip(frequencies(&config.rope_scaling))
            .flat_map(|(plain, scaled)| (plain / scaled).to_le_bytes())
            .collect();
        let mut all: Vec<(String, Vec<usize>, Vec<u8>)> =
            vec![("rope_freqs.weight".into(), vec![divisors.len() / 4], divisors)];
        for tensor in tensors.iter() {
            let ollama = ollamas_name(&tensor.name);
            let row = tensor.data.len() / tensor.shape[0];
            let is_rotated =
                ollama.starts_with("blk") && (ollama.contains(".attn_q") || ollama.contains(".attn_k"));
            let layouts = [RopeLayout::HalfSplit, RopeLayout::Interleaved];
            let data = match is_rotated {
                true => reorder_rotary(&tensor.data, row, [config.head_dim; 2], layouts[0], layouts[1]),
                false => tensor.data.to_vec(),
            };
            let gate = |f: &dyn Fn(f32) -> f32| {
                f(f32::from_le_bytes(data[..4].try_into().unwrap())).to_le_bytes().to_vec()
            };
            if ollama == "v.position_embd.gate" {
                all.push(("v.tile_position_embd.gate".into(), tensor.shape.clone(), gate(&f32::tanh)));
                all.push((ollama, tensor.shape.clone(), gate(&|x| 1.0 - x.tanh())));
            } else if ollama.starts_with("v.") && ollama.contains("gate") {
                all.push((ollama, tensor.shape.clone(), gate(&f32::tanh)));
            } else {
                all.push((ollama, tensor.shape.clone(), data));
            }
        }
        let write = |file: &str, metadata: Metadata, wanted: &dyn Fn(&str) -> bool| {
            let own = || all.iter().filter(|(name, ..)| wanted(name));
            let mut writer = gguf::Writer::new(metadata);
            own().for_each(|(name, shape, _)| {
                writer.declare(TensorInfo::new(name.clone(), DType::F32, shape.clone()))
            });
            let mut stream = writer.begin(&path(file)).unwrap();
            own().for_each(|(name, _, data)| stream.write(name, data).unwrap());
            stream.finish().unwrap();
        };
        let is_vision = |name: &str| name.starts_with("v.") || name.starts_with("mm.");
        write("both.gguf", both, &|_| true);
        write("text.gguf", text, &|name| !is_vision(name));
        write("encoder.gguf", encoder, &is_vision);
        let tower = LoadOptions { mmproj: Some(path("encoder.gguf")), ..LoadOptions::default() };
        let read = [load(&path("both.gguf")), Model::load(&path("text.gguf"), &tower).unwrap()];
        for read in &read {
            assert_near(&logits(read), &logits(&model), &name);
        }
        assert!(load(&path("text.gguf")).config.vision.is_none());
    }
}

/// The arrangements of tiles of the released models, which Ollama's form takes for granted.
const RELEASED_GRIDS: [[usize; 2]; 8] = [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]];

/// What Ollama's converter calls a tensor of Hugging Face's.
fn ollamas_name(name: &str) -> String {
    let rules = [
        ("language_model.lm_head", "output"),
        ("language_model.model.embed_tokens", "token_embd"),
        ("language_model.model.norm", "output_norm"),
        ("language_model.model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.down_proj", "ffn_down"),
        ("mlp.up_proj", "ffn_up"),
        ("gate_attn", "attn_gate"),
        ("gate_ffn", "ffn_gate"),
        ("cross_attn.", "cross_attn_"),
        ("vision_model", "v"),
        ("class_embedding", "class_embd"),
        ("patch_embedding", "patch_embd"),
        ("gated_positional_embedding.tile_embedding", "tile_position_embd"),
        ("gated_positional_embedding.embedding", "position_embd.weight"),
        ("gated_positional_embedding", "position_embd"),
        ("embedding.weight", "weight"),
        ("pre_tile_positional_embedding", "pre_tile_position_embd"),
        ("post_tile_positional_embedding", "post_tile_position_embd"),
        ("layernorm_pre", "pre_ln"),
        ("layernorm_post", "post_ln"),
        ("global_transformer.layers", "global.blk"),
        ("transformer.layers", "blk"),
        ("mlp.fc1", "ffn_up"),
        ("mlp.fc2", "ffn_down"),
        ("multi_modal_projector", "mm.0"),
    ];
    rules.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// Cuts a checkpoint of one file in two, as Meta's model-parallel code does.
fn split(whole: &TensorMap, model: &Model, dir: &Path) {
    let config = &model.config;
    let infos_and_halves: Vec<(TensorInfo, [Vec<u8>; 2])> = whole
        .iter()
        .map(|tensor| {
            let name = tensor.name.as_str();
            let rows = tensor.shape[0];
            let cols: usize = tensor.shape[1..].iter().product();
            let row = |r: usize| &tensor.data[r * cols * 4..(r + 1) * cols * 4];
            // Half h of some rows, or of the columns of all.
            let of_rows = |from: usize, n: usize, h: usize| -> Vec<u8> {
                (from + h * n / 2..from + (h + 1) * n / 2).flat_map(row).copied().collect()
            };
            let of_cols = |h: usize| -> Vec<u8> {
                (0..rows).flat_map(|r| &row(r)[h * cols / 2 * 4..(h + 1) * cols / 2 * 4]).copied().collect()
            };
            let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
            let halved_rows = [vec![rows / 2], tensor.shape[1..].to_vec()].concat();
            let by_rows = |parts: &[(usize, usize)]| {
                let half = |h| parts.iter().flat_map(|(from, n)| of_rows(*from, *n, h)).collect();
                (halved_rows.clone(), [half(0), half(1)])
            };
            let (q, kv) = (config.q_dim(), config.kv_dim());
            let experts = &config.experts;
            let vision_rows =
                ["attn.wq.weight", "attn.wk.weight", "attn.wv.weight", "attn.wq.bias", "attn.wk.bias"];
            let more_rows = [
                "attn.wv.bias",
                "c_fc.weight",
                "c_fc.bias",
                "conv1._linear.weight",
                "vision_projection.weight",
                "vision_projection.bias",
                "tok_embeddings.weight",
                "output.weight",
                "learnable_embedding.weight",
                "attention.wq.weight",
                "attention.wk.weight",
                "attention.wv.weight",
                "feed_forward.w1.weight",
                "feed_forward.w3.weight",
                "w_in_shared_FD.weight",
                "w_swiglu_FD.weight",
            ];
            let cols_too = [
                "attn.wo.weight",
                "c_proj.weight",
                "attention.wo.weight",
                "feed_forward.w2.weight",
                "w_out_shared_DF.weight",
                "mlp.fc2_weight",
                "moe_w_in_eD_F",
                "moe_w_swiglu_eD_F",
            ];
            let (shape, halves) = if ends(&["attention.wqkv.weight"]) {
                by_rows(&[(0, q), (q, kv), (q + kv, kv)])
            } else if ends(&["mlp.fc1_weight"]) {
                by_rows(&[(0, rows / 2), (rows / 2, rows / 2)])
            } else if ends(&["moe_w_out_eF_D"]) {
                let parts: Vec<_> = (0..experts.n).map(|e| (e * experts.ffn_dim, experts.ffn_dim)).collect();
                by_rows(&parts)
            } else if ends(&vision_rows) || ends(&more_rows) {
                by_rows(&[(0, rows)])
            } else if ends(&cols_too) {
                (vec![rows, cols / 2], [of_cols(0), of_cols(1)])
            } else {
                (tensor.shape.clone(), [tensor.data.to_vec(), tensor.data.to_vec()])
            };
            (TensorInfo::new(name.to_owned(), tensor.dtype, shape), halves)
        })
        .collect();
    for shard in 0..2 {
        let infos = infos_and_halves.iter().map(|(info, _)| info.clone()).collect();
        let path = dir.join(format!("consolidated.0{shard}.pth"));
        let mut writer = PthWriter::begin(&path, infos).unwrap();
        infos_and_halves.iter().for_each(|(_, halves)| writer.write(&halves[shard]).unwrap());
        writer.finish().unwrap();
    }
}
