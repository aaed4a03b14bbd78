//! Pictures: from a file's bytes to what a model sees of it.

use std::fs::File;
use std::hash::Hasher;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use puna_engine::SequenceImage;
use puna_formats::{read_at_most, visible_path};
use puna_image::{Limits, decode};
use puna_model::{ImageTiles, ModelError};
use puna_tensor::{Var, Workspace};
use puna_text::template::{Content, Message, Part};
use serde_json::Value;

use crate::{Error, Llama};

/// A picture that a model has looked at. Cloning shares it.
#[derive(Clone)]
pub struct Picture {
    /// Its width and height in pixels.
    pub size: [usize; 2],
    /// Rows and columns of the tiles it was cut into.
    pub grid: [usize; 2],
    /// How long looking took.
    pub time: Duration,
    /// The file it came from. A saved conversation names it, and can only be loaded again if it does.
    pub path: Option<PathBuf>,
    vectors: Var,
    id: u128,
}

impl Picture {
    /// How many vectors the model made of it.
    pub fn n_vectors(&self) -> usize {
        self.vectors.rows()
    }

    /// The picture at these positions of a sequence.
    pub(crate) fn at(&self, positions: Vec<usize>) -> SequenceImage {
        SequenceImage { positions, vectors: self.vectors.clone(), id: self.id }
    }
}

impl Llama {
    /// Looks at a picture file.
    pub fn look_at_file(&self, path: impl AsRef<Path>) -> Result<Picture, Error> {
        let path = path.as_ref();
        let picture = self.look_at(&read_picture(path)?, |_, _| ControlFlow::Continue(()))?;
        Ok(Picture { path: Some(path.to_owned()), ..picture })
    }

    /// Looks at a picture: a JPEG, PNG, WebP or GIF file's bytes. `on_layer` is told how many of the
    /// encoder's layers are done, and ends it with `Break`.
    pub fn look_at(
        &self,
        file: &[u8],
        mut on_layer: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Picture, Error> {
        let tiling = self.tiling().ok_or_else(|| self.no_vision())?;
        let start = Instant::now();
        let image = decode(file, &Limits::default())?;
        let tiles = tiling.cut(&image);
        let engine = self.engine();
        let mut graph = engine.graph_in(&Workspace::default());
        let input = ImageTiles { grid: tiles.grid, n_tiles: tiles.n_tiles, pixels: &tiles.pixels };
        let stopped = |error| match error {
            ModelError::Stopped => Error::Stopped,
            error => error.into(),
        };
        let vectors =
            engine.model().encode_image(&mut graph, &input, Some(&mut on_layer)).map_err(stopped)?;
        if let Some(x) = vectors.values().iter().find(|x| !x.is_finite()) {
            return Err(self.damaged(format!("the vision encoder's output holds {x}")));
        }
        let size = [image.width, image.height];
        let time = start.elapsed();
        Ok(Picture { size, grid: tiles.grid, time, path: None, vectors, id: id_of(file) })
    }

    /// Looks at the pictures of messages, in order. Each part says in a `path`, or as `image_url`, which file
    /// it is, or holds it as a data URL; paths are relative to `folder`.
    pub fn look_at_all(
        &self,
        messages: &[Message],
        folder: &Path,
        mut on_layer: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Vec<Picture>, Error> {
        let parts = picture_parts(messages);
        // All files first: one that is not there is said at once.
        let files = parts.iter().map(|part| part.read(folder)).collect::<Result<Vec<_>, Error>>()?;
        let look = |(part, file): (&PicturePart, &Vec<u8>)| {
            self.look_at(file, &mut on_layer).map_err(|error| part.explain(error))
        };
        parts.iter().zip(&files).map(look).collect()
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

/// An image part of a message.
struct PicturePart<'m> {
    /// Which message, counted from 1.
    message: usize,
    /// The file, or a data URL; `None` if the part says neither.
    source: Option<&'m str>,
}

/// The image parts of messages, in order.
fn picture_parts(messages: &[Message]) -> Vec<PicturePart<'_>> {
    let mut found = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        let Some(Content::Parts(parts)) = &message.content else { continue };
        let images = parts.iter().filter_map(|part| match part {
            Part::Image(image) => Some(image),
            _ => None,
        });
        found.extend(images.map(|image| PicturePart { message: i + 1, source: source_of(image) }));
    }
    found
}

fn source_of(image: &Value) -> Option<&str> {
    let url = image["image_url"].get("url").unwrap_or(&image["image_url"]);
    [&image["path"], url, &image["url"], &image["image"]].into_iter().find_map(Value::as_str)
}

impl PicturePart<'_> {
    /// The picture's bytes.
    fn read(&self, folder: &Path) -> Result<Vec<u8>, Error> {
        let Some(source) = self.source else {
            let fact = "has an image part without a file: expected `path`, or `image_url` with a data URL";
            return Err(Error::Request(format!("message {} {fact}", self.message)));
        };
        let fail = |error: Error| Err(self.explain(error));
        if let Some(data) = source.strip_prefix("data:") {
            let base64 = data.split_once(";base64,").map(|(_, base64)| base64);
            let bytes = base64.and_then(|text| base64::prelude::BASE64_STANDARD.decode(text.trim()).ok());
            let wrong = || Error::Request("it is not in base64: expected data:image/…;base64,…".into());
            return bytes.ok_or_else(wrong).or_else(fail);
        }
        if source.starts_with("http://") || source.starts_with("https://") {
            let fact = "pictures are not fetched from the network; save it and give its path";
            return fail(Error::Unsupported(fact.into()));
        }
        read_picture(&folder.join(source.strip_prefix("file://").unwrap_or(source))).or_else(fail)
    }

    /// Says which picture an error is about.
    fn explain(&self, error: Error) -> Error {
        if matches!(error, Error::Stopped | Error::NoVision { .. }) {
            return error;
        }
        let file = self.source.filter(|source| !source.starts_with("data:")).map(str::to_owned);
        Error::MessagePicture { message: self.message, file, source: Box::new(error) }
    }
}

/// The bytes of a picture's file, if there are not too many.
pub fn read_picture(path: &Path) -> Result<Vec<u8>, Error> {
    let fail = |fact: String| Error::Request(format!("cannot read `{}`\n  {fact}", visible_path(path)));
    let file = File::open(path).map_err(|error| fail(error.to_string()))?;
    read_at_most(file, Limits::default().max_bytes).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => fail(format!("{error}; make the picture smaller")),
        _ => fail(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pictures_are_found_in_messages() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.png"), b"A").unwrap();
        let read = |image: Value| {
            let message = json!({"role": "user", "content": [image, {"type": "text", "text": "?"}]});
            let messages = [Message::new("user", "hi"), serde_json::from_value(message).unwrap()];
            picture_parts(&messages)[0].read(dir.path())
        };
        assert_eq!(read(json!({"type": "image", "path": "a.png"})).unwrap(), b"A");
        let url = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,Qg=="}});
        assert_eq!(read(url).unwrap(), b"B");
        for (image, word) in [
            (json!({"type": "image", "path": "b.png"}), "b.png"),
            (json!({"type": "image"}), "without a file"),
            (json!({"type": "image_url", "image_url": {"url": "data:image/png,x"}}), "base64"),
            (json!({"type": "image_url", "image_url": {"url": "https://x/y.png"}}), "network"),
        ] {
            let error = read(image).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("message 2"), "{error}");
        }
        assert_ne!(id_of(b"A"), id_of(b"B"));
    }
}
