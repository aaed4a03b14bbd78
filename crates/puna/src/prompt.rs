//! Prompts: what a model is given, as token ids, and the pictures among them.

use puna_engine::SequenceImage;
use puna_formats::visible_path;
use puna_model::{Tower, Vision};
use puna_text::template::{Message, Prompt, RenderOptions};
use puna_text::{EncodeOptions, InfillOrder, Tokenizer};

use crate::{Error, Llama, Picture};

/// The token that stands for a picture in a prompt's text, until the picture is there.
const PLACEHOLDER: &str = "<|image|>";

/// A prompt's tokens, and the pictures among them.
#[derive(Clone, Default)]
pub struct PromptTokens {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The pictures that some of them stand for.
    pub images: Vec<SequenceImage>,
    /// Whether an answer in a chat is asked for, which is a text of its own; else a text is continued.
    pub is_chat: bool,
}

impl PromptTokens {
    /// Whether what follows is a text of its own: an answer in a chat, or what follows BOS alone.
    pub(crate) fn stands_alone(&self, tokenizer: Option<&Tokenizer>) -> bool {
        let is_special = |tokenizer: &Tokenizer| self.ids.iter().all(|id| tokenizer.is_special(*id));
        self.is_chat || tokenizer.is_some_and(is_special)
    }
}

impl From<Vec<u32>> for PromptTokens {
    fn from(ids: Vec<u32>) -> PromptTokens {
        PromptTokens { ids, images: Vec::new(), is_chat: false }
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

impl Llama {
    /// The ids of a text to continue: ordinary text, after BOS where the model wants one.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let tokenizer = self.tokenizer()?;
        let options = EncodeOptions { add_bos: tokenizer.adds_bos(), ..EncodeOptions::default() };
        Ok(tokenizer.encode(text, options))
    }

    /// The prompt of a text to continue that begins with pictures.
    pub fn text_prompt(&self, text: &str, pictures: &[Picture]) -> Result<PromptTokens, Error> {
        let mut ids = self.encode(text)?;
        if !pictures.is_empty() {
            let bos = self.tokenizer()?.bos_id();
            let at = usize::from(bos.is_some() && ids.first().copied() == bos);
            ids.splice(at..at, vec![self.placeholder()?; pictures.len()]);
        }
        self.with_pictures(ids, pictures)
    }

    /// The prompt that a conversation becomes in the model's chat format, BOS exactly once; `pictures` are
    /// those of its messages' image parts, in order.
    pub fn chat_prompt(
        &self,
        messages: &[Message],
        pictures: &[Picture],
        options: &RenderOptions,
    ) -> Result<PromptTokens, Error> {
        let prompt = self.text().render(messages, options).ok_or_else(|| self.no_chat())??;
        self.rendered_prompt(&prompt, pictures)
    }

    pub(crate) fn rendered_prompt(
        &self,
        prompt: &Prompt,
        pictures: &[Picture],
    ) -> Result<PromptTokens, Error> {
        let ids = prompt.to_ids(self.tokenizer()?).map_err(Error::Prompt)?;
        Ok(PromptTokens { is_chat: true, ..self.with_pictures(ids, pictures)? })
    }

    /// The prompt that asks a Code Llama for what stands between `prefix` and `suffix`. The answer is a
    /// continuation: every space of it counts.
    pub fn infill_prompt(
        &self,
        prefix: &str,
        suffix: &str,
        order: InfillOrder,
    ) -> Result<PromptTokens, Error> {
        let ids = self.tokenizer()?.encode_infill(prefix, suffix, order).map_err(|source| {
            let path = visible_path(self.path());
            let hint = "Code Llama 7B and 13B and their Instruct variants can";
            Error::Unsupported(format!("`{path}` cannot fill in text\n  {source}\n  {hint}"))
        })?;
        Ok(ids.into())
    }

    /// Puts pictures in the place of their placeholders, in order: Llama 3.2 has one token for each, Llama 4
    /// a token for every vector and others between tiles.
    pub fn with_pictures(&self, ids: Vec<u32>, pictures: &[Picture]) -> Result<PromptTokens, Error> {
        let Some(vision) = &self.config().vision else {
            return if pictures.is_empty() { Ok(ids.into()) } else { Err(self.no_vision()) };
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
            Tower::CrossAttention(_) => None,
            Tower::EarlyFusion(_) => Some(BlockTokens::of(self.tokenizer()?, vision)?),
        };
        let mut tokens = PromptTokens { ids: Vec::with_capacity(ids.len()), ..PromptTokens::default() };
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
            tokens.images.push(picture.at(positions));
        }
        Ok(tokens)
    }

    fn placeholder(&self) -> Result<u32, Error> {
        id_in(self.tokenizer()?, PLACEHOLDER)
    }
}

/// The id of a token that pictures need.
fn id_in(tokenizer: &Tokenizer, name: &str) -> Result<u32, Error> {
    let missing = || Error::Unsupported(format!("the tokenizer has no `{name}`, which pictures need"));
    tokenizer.id_of(name).ok_or_else(missing)
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
        let id = |name: &str| id_in(tokenizer, name);
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
