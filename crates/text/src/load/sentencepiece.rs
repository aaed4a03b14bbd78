//! SentencePiece's `tokenizer.model`: a protocol-buffer message, of which a few fields matter.
//!
//! The reader walks the wire format itself: every length is checked against the bytes that are there,
//! unknown fields are stepped over.

use crate::charsmap::CharsMap;
use crate::error::TokenizerError;
use crate::load::gguf::{Piece, SentencePieceParts};
use crate::load::tiktoken::TokenizerHints;
use crate::tokenizer::Tokenizer;
use crate::vocab::TokenKind;

const FORM: &str = "SentencePiece tokenizer.model";

impl Tokenizer {
    /// Reads a SentencePiece model of type BPE (Llama 1 and 2, Code Llama) or Unigram.
    pub fn from_sentencepiece(bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
        from_sentencepiece(bytes, &TokenizerHints::default())
    }
}

/// Reads a SentencePiece model, beside which other files name more tokens.
pub(crate) fn from_sentencepiece(bytes: &[u8], hints: &TokenizerHints) -> Result<Tokenizer, TokenizerError> {
    let model = Model::parse(bytes)?;
    model.check_supported()?;
    let id = |id: i64| u32::try_from(id).ok().filter(|id| (*id as usize) < model.pieces.len());
    let parts = SentencePieceParts {
        form: FORM,
        bos: id(model.bos_id),
        eos: id(model.eos_id),
        unknown: id(model.unk_id),
        add_bos: true,
        add_eos: false,
        add_space_prefix: model.add_dummy_prefix,
        is_unigram: model.model_type == UNIGRAM,
        map: model.charsmap,
        removes_extra_spaces: model.remove_extra_whitespaces,
        marks_spaces: model.escape_whitespaces,
        space_is_suffix: model.whitespace_is_suffix,
        isolates_user_defined: true,
        pieces: model.pieces,
        added: hints.added_tokens.clone(),
        n_rows: hints.vocab_size,
    };
    parts.into_tokenizer()
}

/// The types of models that are read.
const UNIGRAM: u64 = 1;
const BPE: u64 = 2;

/// The fields we read of SentencePiece's `ModelProto`, with its defaults.
struct Model {
    pieces: Vec<Piece>,
    model_type: u64,
    whitespace_is_suffix: bool,
    unk_id: i64,
    bos_id: i64,
    eos_id: i64,
    charsmap: Option<CharsMap>,
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    escape_whitespaces: bool,
}

impl Model {
    fn parse(bytes: &[u8]) -> Result<Model, TokenizerError> {
        let mut model = Model {
            pieces: Vec::new(),
            model_type: 1,
            whitespace_is_suffix: false,
            unk_id: 0,
            bos_id: 1,
            eos_id: 2,
            charsmap: None,
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        };
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => model.pieces.push(parse_piece(piece)?),
                (2, Value::Bytes(trainer)) => model.parse_trainer(trainer)?,
                (3, Value::Bytes(normalizer)) => model.parse_normalizer(normalizer)?,
                _ => {}
            }
        }
        if model.pieces.is_empty() {
            return Err(TokenizerError::malformed(FORM, "no pieces; is this another kind of file?"));
        }
        Ok(model)
    }

    fn parse_trainer(&mut self, bytes: &[u8]) -> Result<(), TokenizerError> {
        for field in Fields(bytes) {
            match field? {
                (3, Value::Number(kind)) => self.model_type = kind,
                (24, Value::Number(flag)) => self.whitespace_is_suffix = flag != 0,
                // int32 fields are written as 64-bit two's complement.
                (40, Value::Number(id)) => self.unk_id = id as i64,
                (41, Value::Number(id)) => self.bos_id = id as i64,
                (42, Value::Number(id)) => self.eos_id = id as i64,
                _ => {}
            }
        }
        Ok(())
    }

    fn parse_normalizer(&mut self, bytes: &[u8]) -> Result<(), TokenizerError> {
        for field in Fields(bytes) {
            match field? {
                (2, Value::Bytes([])) => {}
                (2, Value::Bytes(map)) => {
                    let wrong = |what| {
                        TokenizerError::malformed(FORM, format!("the precompiled_charsmap has {what}"))
                    };
                    self.charsmap = Some(CharsMap::parse(map).map_err(wrong)?);
                }
                (3, Value::Number(flag)) => self.add_dummy_prefix = flag != 0,
                (4, Value::Number(flag)) => self.remove_extra_whitespaces = flag != 0,
                (5, Value::Number(flag)) => self.escape_whitespaces = flag != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn check_supported(&self) -> Result<(), TokenizerError> {
        let name = match self.model_type {
            UNIGRAM | BPE => return Ok(()),
            3 => "WORD",
            4 => "CHAR",
            _ => "(unknown)",
        };
        let hint = "supported are UNIGRAM and BPE";
        Err(TokenizerError::unsupported(FORM, "model_type", format!("{name}, {}", self.model_type), hint))
    }
}

fn parse_piece(bytes: &[u8]) -> Result<Piece, TokenizerError> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: TokenKind::Normal };
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(text)) => match std::str::from_utf8(text) {
                Ok(text) => piece.text = text.to_owned(),
                Err(_) => {
                    return Err(TokenizerError::malformed(FORM, format!("piece {text:?} is not UTF-8")));
                }
            },
            (2, Value::Fixed32(bits)) => piece.score = f32::from_bits(bits),
            (3, Value::Number(kind)) => {
                piece.kind = crate::load::gguf::kind_of_code(FORM, i64::try_from(kind).unwrap_or(-1))?;
            }
            _ => {}
        }
    }
    Ok(piece)
}

/// A field's value in the protocol-buffer wire format.
enum Value<'b> {
    Number(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'b [u8]),
}

/// The fields of a message, in order; ends after the first error.
struct Fields<'b>(&'b [u8]);

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u64, Value<'b>), TokenizerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or_else(|| {
            let what = format!(
                "a protocol-buffer field is cut off or unknown, {} bytes before an end",
                self.0.len()
            );
            TokenizerError::malformed(FORM, what)
        });
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'b> Fields<'b> {
    fn field(&mut self) -> Option<(u64, Value<'b>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, value))
    }

    fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}
