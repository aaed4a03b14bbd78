//! What is asked about models: `/api/show`, `/api/delete`, `/api/copy`, `/api/pull`, `/api/push`, `/api/create`.

use puna_text::template::Message;
use serde_json::{Map, Value, json};

use super::modelfile::Modelfile;
use super::name::{Name, digest};
use super::options::check_names;
use super::{Options, chat, read_model};
use crate::fields::{missing, wrong};
use crate::{Fields, Problem};

/// The most files, adapters and licenses of a model that is created.
const MOST_FILES: usize = 1024;

/// The most bytes of a file's name.
const MOST_NAME_BYTES: usize = 200;

/// A model that is to be shown, deleted, pulled or pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name as the client writes it: a model that is there may have names of other forms.
    pub model: String,
    /// Whether lines tell how far it is.
    pub stream: bool,
    /// Whether everything is wanted, the weights' names too.
    pub verbose: bool,
    /// Whether a registry without a certificate is allowed.
    pub insecure: bool,
}

/// A model that gets a second name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The model, as the client writes it.
    pub source: String,
    /// The new name.
    pub destination: Name,
}

/// A model that is created.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// Its name.
    pub model: Name,
    /// Whether lines tell how far it is.
    pub stream: bool,
    /// The model that it is made from.
    pub from: Option<String>,
    /// Files with their blobs' digests, which were uploaded before.
    pub files: Vec<(String, String)>,
    /// The same of adapters.
    pub adapters: Vec<(String, String)>,
    /// Its chat template.
    pub template: Option<String>,
    /// Its licenses.
    pub license: Vec<String>,
    /// What it is told before every conversation.
    pub system: Option<String>,
    /// Its parameters, by the names of `options`.
    pub parameters: Map<String, Value>,
    /// Messages that stand before every conversation.
    pub messages: Vec<Message>,
    /// How its weights are to be stored, as the client names it: `q4_K_M`.
    pub quantize: Option<String>,
    /// The least version of Ollama that can run it.
    pub requires: Option<String>,
}

/// Reads a body of `/api/show`, `/api/delete`, `/api/pull` or `/api/push`.
pub fn read_about(body: &Value) -> Result<About, Problem> {
    let fields = Fields::of_body(body)?;
    Ok(About {
        model: read_model(&fields)?.ok_or_else(|| missing("model"))?,
        stream: fields.bool("stream", true)?,
        verbose: fields.bool("verbose", false)?,
        insecure: fields.bool("insecure", false)?,
    })
}

/// Reads a body of `/api/copy`.
pub fn read_copy(body: &Value) -> Result<Copy, Problem> {
    let fields = Fields::of_body(body)?;
    let source = fields.required_str("source")?.to_owned();
    let destination = Name::parse(fields.required_str("destination")?, "destination")?;
    Ok(Copy { source, destination })
}

/// Reads a body of `/api/create`.
pub fn read_create(body: &Value) -> Result<Create, Problem> {
    let fields = Fields::of_body(body)?;
    let is_empty = |value: &Value| value == "";
    let instead = "send what it says as `from`, `files`, `parameters`, `template`, `system`";
    fields.refuse("modelfile", is_empty, instead)?;
    fields.refuse(
        "path",
        is_empty,
        "a client's paths mean nothing to the server; upload blobs and name them in `files`",
    )?;
    let text = |name| Ok(fields.str(name)?.filter(|text| !text.is_empty()).map(str::to_owned));
    let messages = fields.list("messages")?.iter().enumerate();
    let messages = messages.map(|(at, message)| chat::read_message(message, &format!("messages[{at}]")));
    let create = Create {
        model: Name::parse(&read_model(&fields)?.ok_or_else(|| missing("model"))?, "model")?,
        stream: fields.bool("stream", true)?,
        from: text("from")?,
        files: read_files(&fields, "files")?,
        adapters: read_files(&fields, "adapters")?,
        template: text("template")?,
        license: fields.strings("license", MOST_FILES)?,
        system: text("system")?,
        parameters: read_parameters(&fields)?,
        messages: messages.collect::<Result<_, _>>()?,
        quantize: match text("quantize")? {
            Some(quantize) => Some(quantize),
            None => text("quantization")?,
        },
        requires: text("requires")?,
    };
    if create.from.is_none() && create.files.is_empty() {
        return Err(Problem::field(
            "from",
            "`from` is missing, and so are `files`: a model is made from something",
        ));
    }
    Ok(create)
}

/// Parameters by the names of `options`; what is wrong with them is said now, not when the model is asked.
fn read_parameters(fields: &Fields) -> Result<Map<String, Value>, Problem> {
    let Some(parameters) = fields.object("parameters")? else { return Ok(Map::new()) };
    check_parameters(&parameters)?;
    Ok(parameters.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect())
}

fn check_parameters(parameters: &Fields) -> Result<(), Problem> {
    check_names(parameters)?;
    Options::read(parameters).map(drop)
}

/// Files' names with digests. The names are told from the digests' files by their ends, and are no paths.
fn read_files(fields: &Fields, name: &str) -> Result<Vec<(String, String)>, Problem> {
    let Some(files) = fields.object(name)? else { return Ok(Vec::new()) };
    let entries: Vec<(&str, &Value)> = files.iter().collect();
    if entries.len() > MOST_FILES {
        let found = entries.len();
        return Err(Problem::field(
            name,
            format!("`{name}` has {found} files; at most {MOST_FILES} are allowed"),
        ));
    }
    let entry = |(file, value): (&str, &Value)| {
        let path = files.path(file);
        let text = value.as_str().ok_or_else(|| wrong(&path, value, "a blob's digest"))?;
        if !is_file_name(file) {
            let want = format!("a file's of at most {MOST_NAME_BYTES} bytes, not a path, and not hidden");
            return Err(Problem::field(name, format!("`{name}` has the name {file:?}; it must be {want}")));
        }
        Ok((file.to_owned(), digest(text, &path)?.to_owned()))
    };
    entries.into_iter().map(entry).collect()
}

/// Whether it is the name of a file, wherever it may be, and leads to no other.
fn is_file_name(name: &str) -> bool {
    let is_odd = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
    (1..=MOST_NAME_BYTES).contains(&name.len())
        && !name.contains(is_odd)
        && !name.starts_with(['.', ' '])
        && !name.ends_with(['.', ' '])
}

impl Create {
    /// A model of which nothing else is said.
    pub fn new(model: Name) -> Create {
        Create {
            model,
            stream: false,
            from: None,
            files: Vec::new(),
            adapters: Vec::new(),
            template: None,
            license: Vec::new(),
            system: None,
            parameters: Map::new(),
            messages: Vec::new(),
            quantize: None,
            requires: None,
        }
    }

    /// What a Modelfile says, for a model of this name. Its `FROM` may be a model or a path, which the caller tells
    /// apart; adapters are paths, and left to the caller.
    pub fn of_modelfile(model: Name, file: &Modelfile) -> Create {
        Create {
            from: Some(file.from.clone()),
            template: file.template.clone().filter(|text| !text.is_empty()),
            license: file.licenses.clone(),
            system: file.system.clone().filter(|text| !text.is_empty()),
            parameters: file.options(),
            messages: file.messages.iter().map(|(role, text)| Message::new(role.clone(), text)).collect(),
            requires: file.requires.clone(),
            ..Create::new(model)
        }
    }

    /// Whether its parameters can be, which a Modelfile does not say.
    pub fn check_parameters(&self) -> Result<(), Problem> {
        check_parameters(&Fields::within(&Value::Object(self.parameters.clone()), "parameters")?)
    }

    /// The body that says it: what [`read_create`] reads back.
    pub fn body(&self) -> Value {
        let pairs = |files: &[(String, String)]| -> Value {
            files.iter().map(|(name, digest)| (name.clone(), Value::from(digest.as_str()))).collect()
        };
        let mut body = json!({
            "model": self.model.to_string(),
            "stream": self.stream,
            "from": self.from,
            "files": pairs(&self.files),
            "adapters": pairs(&self.adapters),
            "template": self.template,
            "license": self.license,
            "system": self.system,
            "parameters": self.parameters,
            "messages": self.messages,
            "quantize": self.quantize,
            "requires": self.requires,
        });
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        body
    }

    /// Its Modelfile. What stands after `FROM` is the caller's to say.
    pub fn modelfile(&self, from: &str) -> Modelfile {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let parameters = self.parameters.iter().flat_map(|(name, value)| match value {
            Value::Array(values) => values.iter().map(|value| (name.clone(), text(value))).collect(),
            value => vec![(name.clone(), text(value))],
        });
        Modelfile {
            from: from.to_owned(),
            parameters: parameters.collect(),
            template: self.template.clone(),
            system: self.system.clone(),
            adapters: Vec::new(),
            licenses: self.license.clone(),
            messages: self
                .messages
                .iter()
                .map(|message| (message.role.to_string(), message.text()))
                .collect(),
            requires: self.requires.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn models_by_either_name() {
        let about = read_about(&json!({"name": "m", "stream": false, "insecure": true})).unwrap();
        assert_eq!(
            (about.model.as_str(), about.stream, about.insecure, about.verbose),
            ("m", false, true, false)
        );
        assert!(read_about(&json!({"model": "m", "name": ""})).unwrap().stream);
        for body in [json!({}), json!({"model": ""}), json!({"model": 1})] {
            assert_eq!(read_about(&body).unwrap_err().param.as_deref(), Some("model"));
        }
        let copy = read_copy(&json!({"source": "m", "destination": "n"})).unwrap();
        assert_eq!((copy.source.as_str(), copy.destination.to_string().as_str()), ("m", "n:latest"));
        assert!(read_copy(&json!({"source": "m", "destination": "../n"})).is_err());
    }

    #[test]
    fn what_is_created_is_told_back() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let body = json!({
            "model": "u/n:1", "stream": false, "from": "m", "files": {"a.gguf": digest}, "template": "t",
            "license": ["l", "k"], "system": "s", "parameters": {"stop": ["x", "y"], "top_p": 0.5, "seed": 3},
            "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
            "requires": "0.5",
        });
        let create = read_create(&body).unwrap();
        assert_eq!(read_create(&create.body()), Ok(create.clone()));
        let file = create.modelfile("m");
        assert_eq!(Value::Object(file.options()), body["parameters"]);
        let again = Create { stream: false, files: Vec::new(), ..create.clone() };
        assert_eq!(Create::of_modelfile(create.model, &file), again);
    }

    #[test]
    fn what_cannot_be_created() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let good =
            json!({"model": "n", "files": {"a.gguf": digest}, "parameters": {"stop": ["x"], "top_k": 3}});
        let create = read_create(&good).unwrap();
        assert_eq!(create.files, [("a.gguf".to_owned(), digest.clone())]);
        assert_eq!(create.parameters["top_k"], 3);
        let cases = [
            (json!({"model": "n"}), "from"),
            (json!({"from": "m"}), "model"),
            (json!({"model": "../n", "from": "m"}), "model"),
            (json!({"model": "n", "modelfile": "FROM m"}), "modelfile"),
            (json!({"model": "n", "path": "/x"}), "path"),
            (json!({"model": "n", "files": {"a": "sha256:1"}}), "files.a"),
            (json!({"model": "n", "files": {"a": 1}}), "files.a"),
            (json!({"model": "n", "files": {"../a": digest}}), "files"),
            (json!({"model": "n", "files": {"..": digest}}), "files"),
            (json!({"model": "n", "files": {"a\u{1}": digest}}), "files"),
            (json!({"model": "n", "files": {"con:a": digest}}), "files"),
            (json!({"model": "n", "files": {("a".repeat(201)): digest}}), "files"),
            (json!({"model": "n", "from": "m", "parameters": {"temprature": 1}}), "parameters.temprature"),
            (json!({"model": "n", "from": "m", "adapters": {"a": "x"}}), "adapters.a"),
            (json!({"model": "n", "from": "m", "parameters": {"mirostat": 2}}), "parameters.mirostat"),
            (json!({"model": "n", "from": "m", "messages": [{"role": "x"}]}), "messages[0].role"),
            (json!({"model": "n", "from": "m", "license": 1}), "license"),
        ];
        for (body, param) in cases {
            assert_eq!(read_create(&body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
