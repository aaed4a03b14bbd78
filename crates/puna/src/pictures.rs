//! Pictures: from a file's bytes to what a model sees of it, and to the tokens that stand for it in a prompt.

use std::hash::Hasher;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use puna_engine::SequenceImage;
use puna_formats::{Checkpoint, read_json};
use puna_image::{Limits, Scheme, Tiling, decode};
use puna_model::{Image, ModelError, Tower, Vision};
use puna_tensor::{Var, Workspace};
use puna_text::Tokenizer;
use puna_text::template::{Content, Message, Part};
use serde_json::Value;

use crate::{Error, Llama};

/// The token that stands for a picture in a prompt's text, until the picture is there.
const PLACEHOLDER: &str = "<|image|>";
/// The largest `preprocessor_config.json` that is read.
const MAX_CONFIG_BYTES: usize = 1 << 20;

/// A picture that a model has looked at. Cloning shares it.
#[derive(Clone)]
pub struct Picture {
    /// Its width and height in pixels.
    pub size: [usize; 2],
    /// Rows and columns of the tiles it was cut into.
    pub grid: [usize; 2],
    /// How long looking took.
    pub time: Duration,
    vectors: Var,
    id: u128,
}

impl Picture {
    /// How many vectors the model made of it.
    pub fn n_vectors(&self) -> usize {
        self.vectors.rows()
    }
}

/// A prompt's tokens, and the pictures among them.
#[derive(Clone, Default)]
pub struct PromptTokens {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The pictures that some of them stand for.
    pub images: Vec<SequenceImage>,
}

impl From<Vec<u32>> for PromptTokens {
    fn from(ids: Vec<u32>) -> PromptTokens {
        PromptTokens { ids, images: Vec::new() }
    }
}

impl From<&[u32]> for PromptTokens {
    fn from(ids: &[u32]) -> PromptTokens {
        ids.to_vec().into()
    }
}

impl From<&Vec<u32>> for PromptTokens {
    fn from(ids: &Vec<u32>) -> PromptTokens {
        ids.clone().into()
    }
}

impl<const N: usize> From<&[u32; N]> for PromptTokens {
    fn from(ids: &[u32; N]) -> PromptTokens {
        ids.to_vec().into()
    }
}

/// How a model wants pictures cut: as the files beside it say, else as its generation was released.
pub(crate) fn tiling_of(checkpoint: &Checkpoint, vision: Option<&Vision>) -> Result<Option<Tiling>, Error> {
    let Some(vision) = vision else { return Ok(None) };
    let tiling = match &vision.tower {
        Tower::Together(together) => {
            let scheme = Scheme::Llama32 { grids: together.grids.clone() };
            Tiling { scheme, max_tiles: together.max_tiles, ..Tiling::llama32(vision.tile) }
        }
        Tower::Apart(_) => Tiling::llama4(vision.tile),
    };
    let folder = match checkpoint {
        Checkpoint::HuggingFace(hf) => &hf.dir,
        Checkpoint::Meta(meta) => &meta.dir,
        Checkpoint::Gguf(_) => return Ok(Some(tiling)),
    };
    let path = folder.join("preprocessor_config.json");
    if !path.is_file() {
        return Ok(Some(tiling));
    }
    let wrong = |fact: String| Error::Request(format!("cannot use `{}`\n  {fact}", path.display()));
    let config: Value = read_json(&path, MAX_CONFIG_BYTES)?;
    let own = tiling.clone().with_preprocessor(&config).map_err(wrong)?;
    if own.tile != vision.tile || own.scheme != tiling.scheme {
        let fact = format!("it cuts other tiles than the model's of {} pixels", vision.tile);
        return Err(wrong(fact));
    }
    Ok(Some(own))
}

impl Llama {
    /// Looks at a picture: a JPEG, PNG, WebP or GIF file's bytes. `on_layer` is told how many of the encoder's layers are done,
    /// and ends it with `Break`.
    pub fn look_at(
        &self,
        file: &[u8],
        mut on_layer: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Picture, Error> {
        let tiling = self.tiling()?;
        let start = Instant::now();
        let image = decode(file, &Limits::default()).map_err(|error| Error::Request(error.to_string()))?;
        let tiles = tiling.cut(&image);
        let engine = self.engine();
        let mut graph = engine.graph_in(&Workspace::default());
        let input = Image { grid: tiles.grid, n_tiles: tiles.n_tiles, pixels: &tiles.pixels };
        let vectors = engine.model().encode_image(&mut graph, &input, Some(&mut on_layer)).map_err(
            |error| match error {
                ModelError::Stopped => Error::Stopped,
                error => error.into(),
            },
        )?;
        if let Some(x) = vectors.values().iter().find(|x| !x.is_finite()) {
            return Err(self.damaged(format!("the vision encoder's output holds {x}")));
        }
        let size = [image.width, image.height];
        Ok(Picture { size, grid: tiles.grid, time: start.elapsed(), vectors, id: id_of(file) })
    }

    /// Looks at the pictures of messages, in order. Each part says in a `path`, or as `image_url`, which file it is, or holds it
    /// as a data URL; paths are relative to `folder`.
    pub fn look_at_all(
        &self,
        messages: &[Message],
        folder: &Path,
        mut on_layer: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Vec<Picture>, Error> {
        let files = picture_files(messages, folder)?;
        files.iter().map(|file| self.look_at(file, &mut on_layer)).collect()
    }

    /// How this model's pictures are cut, or an error that says why it sees none.
    fn tiling(&self) -> Result<&Tiling, Error> {
        self.tiling.as_ref().ok_or_else(|| {
            let hint = match self.checkpoint() {
                Checkpoint::Gguf(_) => "a GGUF file of Llama 4 sees with its vision projector: --mmproj FILE",
                _ => "it has no vision encoder; Llama 3.2 11B and 90B Vision, Llama 4 and its guards have",
            };
            Error::Request(format!("`{}` cannot see pictures\n  {hint}", self.path().display()))
        })
    }

    /// Puts pictures in the place of their placeholders, in order: Llama 3.2 has one token for each, Llama 4 a token for every
    /// vector and others between tiles.
    pub fn with_pictures(&self, ids: Vec<u32>, pictures: &[Picture]) -> Result<PromptTokens, Error> {
        let Some(vision) = &self.config().vision else {
            return if pictures.is_empty() { Ok(ids.into()) } else { self.tiling().map(|_| ids.into()) };
        };
        let placeholder = match self.placeholder() {
            Err(_) if pictures.is_empty() => return Ok(ids.into()),
            placeholder => placeholder?,
        };
        let n_places = ids.iter().filter(|id| **id == placeholder).count();
        if n_places != pictures.len() {
            return Err(Error::Request(format!(
                "the prompt has {n_places} places for {} pictures\n  each picture needs one `{PLACEHOLDER}`",
                pictures.len()
            )));
        }
        let block = match &vision.tower {
            _ if pictures.is_empty() => return Ok(ids.into()),
            Tower::Together(_) => None,
            Tower::Apart(_) => Some(BlockTokens::of(self.tokenizer()?, vision)?),
        };
        let mut tokens = PromptTokens { ids: Vec::with_capacity(ids.len()), images: Vec::new() };
        let mut pictures = pictures.iter();
        for id in ids {
            let Some(picture) = (id == placeholder).then(|| pictures.next()).flatten() else {
                tokens.ids.push(id);
                continue;
            };
            let first = tokens.ids.len();
            match &block {
                None => tokens.ids.push(vision.image_token),
                Some(block) => block.write(&mut tokens.ids, picture.grid, vision.vectors_per_tile()),
            }
            let stands = |position: &usize| tokens.ids[*position] == vision.image_token;
            let positions: Vec<usize> = (first..tokens.ids.len()).filter(stands).collect();
            let (vectors, id) = (picture.vectors.clone(), picture.id);
            tokens.images.push(SequenceImage { positions, vectors, id });
        }
        Ok(tokens)
    }

    /// The ids of a text to continue that begins with pictures.
    pub fn encode_after_pictures(&self, text: &str, pictures: &[Picture]) -> Result<PromptTokens, Error> {
        let mut ids = self.encode(text)?;
        if !pictures.is_empty() {
            let bos = self.tokenizer()?.bos_id();
            let at = usize::from(bos.is_some() && ids.first().copied() == bos);
            ids.splice(at..at, vec![self.placeholder()?; pictures.len()]);
        }
        self.with_pictures(ids, pictures)
    }

    fn placeholder(&self) -> Result<u32, Error> {
        let known = self.tokenizer()?.id_of(PLACEHOLDER);
        known.ok_or_else(|| Error::Request(format!("the tokenizer has no `{PLACEHOLDER}`")))
    }
}

/// The tokens around and between the tiles of a picture in Llama 4.
struct BlockTokens {
    start: u32,
    end: u32,
    next_column: u32,
    next_row: u32,
    whole: u32,
    patch: u32,
}

impl BlockTokens {
    fn of(tokenizer: &Tokenizer, vision: &Vision) -> Result<BlockTokens, Error> {
        let id = |name: &str| {
            let missing = || Error::Request(format!("the tokenizer has no `{name}`, which pictures need"));
            tokenizer.id_of(name).ok_or_else(missing)
        };
        Ok(BlockTokens {
            start: id("<|image_start|>")?,
            end: id("<|image_end|>")?,
            next_column: id("<|tile_x_separator|>")?,
            next_row: id("<|tile_y_separator|>")?,
            whole: id(PLACEHOLDER)?,
            patch: vision.image_token,
        })
    }

    /// The tiles row by row, and the whole picture: Meta's `models/llama4/chat_format.py` (llama-models).
    fn write(&self, ids: &mut Vec<u32>, [rows, columns]: [usize; 2], per_tile: usize) {
        ids.push(self.start);
        if rows * columns > 1 {
            for _ in 0..rows {
                for column in 0..columns {
                    ids.extend(std::iter::repeat_n(self.patch, per_tile));
                    ids.push(if column + 1 < columns { self.next_column } else { self.next_row });
                }
            }
        }
        ids.push(self.whole);
        ids.extend(std::iter::repeat_n(self.patch, per_tile));
        ids.push(self.end);
    }
}

/// Two files with the same number are the same file.
fn id_of(file: &[u8]) -> u128 {
    let half = |seed: u8| {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write(file);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

/// The files of the pictures of messages, in order.
fn picture_files(messages: &[Message], folder: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let parts = messages.iter().filter_map(|message| match &message.content {
        Some(Content::Parts(parts)) => Some(parts),
        _ => None,
    });
    let images = parts.flatten().filter_map(|part| match part {
        Part::Image(image) => Some(image),
        _ => None,
    });
    images.map(|image| picture_file(image, folder)).collect()
}

fn picture_file(image: &Value, folder: &Path) -> Result<Vec<u8>, Error> {
    let url = image["image_url"].get("url").unwrap_or(&image["image_url"]);
    let sources = [&image["path"], url, &image["url"], &image["image"]];
    let Some(source) = sources.into_iter().find_map(Value::as_str) else {
        let fact = "an image part of a message says no file: expected `path`, or `image_url` with a data URL";
        return Err(Error::Request(fact.into()));
    };
    if let Some(data) = source.strip_prefix("data:") {
        let base64 = data.split_once(";base64,").map(|(_, base64)| base64);
        let bytes = base64.and_then(|text| base64::prelude::BASE64_STANDARD.decode(text.trim()).ok());
        let wrong =
            || Error::Request("an image's data URL is no base64: expected data:image/…;base64,…".into());
        return bytes.ok_or_else(wrong);
    }
    if source.starts_with("http://") || source.starts_with("https://") {
        let fact = "pictures are not fetched from the network; save it and give its path";
        return Err(Error::Request(format!("cannot read `{source}`\n  {fact}")));
    }
    read_picture(&folder.join(source.strip_prefix("file://").unwrap_or(source)))
}

/// The bytes of a picture's file, if there are not too many.
pub fn read_picture(path: &Path) -> Result<Vec<u8>, Error> {
    let fail = |fact: String| Error::Request(format!("cannot read `{}`\n  {fact}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    let max = Limits::default().max_bytes;
    if about.len() > max as u64 {
        return Err(fail(format!("it has {} bytes, more than {max}; make the picture smaller", about.len())));
    }
    std::fs::read(path).map_err(|error| fail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tiles_are_written_in_order() {
        let block = BlockTokens { start: 1, end: 2, next_column: 3, next_row: 4, whole: 5, patch: 9 };
        let ids = |grid, per_tile| {
            let mut ids = vec![7];
            block.write(&mut ids, grid, per_tile);
            ids
        };
        assert_eq!(ids([1, 1], 2), [7, 1, 5, 9, 9, 2]);
        assert_eq!(ids([2, 2], 1), [7, 1, 9, 3, 9, 4, 9, 3, 9, 4, 5, 9, 2]);
        // The sizes of the released models' blocks.
        for (grid, n) in [([1, 1], 147), ([2, 2], 727), ([3, 4], 1887), ([3, 5], 2322), ([4, 4], 2467)] {
            assert_eq!(ids(grid, 144).len() - 1, n, "{grid:?}");
        }
    }

    #[test]
    fn pictures_are_found_in_messages() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.png"), b"A").unwrap();
        let read = |image: Value| {
            let message = json!({"role": "user", "content": [image, {"type": "text", "text": "?"}]});
            picture_files(&[serde_json::from_value(message).unwrap()], dir.path())
        };
        assert_eq!(read(json!({"type": "image", "path": "a.png"})).unwrap(), [b"A"]);
        let url = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,Qg=="}});
        assert_eq!(read(url).unwrap(), [b"B"]);
        for (image, word) in [
            (json!({"type": "image", "path": "b.png"}), "b.png"),
            (json!({"type": "image"}), "says no file"),
            (json!({"type": "image_url", "image_url": {"url": "data:image/png,x"}}), "base64"),
            (json!({"type": "image_url", "image_url": {"url": "https://x/y.png"}}), "network"),
        ] {
            assert!(read(image).unwrap_err().to_string().contains(word), "{word}");
        }
        assert_ne!(id_of(b"A"), id_of(b"B"));
    }
}
