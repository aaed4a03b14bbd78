//! Modelfiles: how Ollama's users say what a model is made of.
//!
//! A command stands at a line's beginning, in letters of any size, and its text after it: to the line's end, or
//! between `"""` over several lines, or between `"`. Lines that begin with `#`, and empty ones, say nothing. Later
//! commands replace earlier ones, but parameters, adapters, licenses and messages, of which there may be several.

use std::fmt::{self, Write};

use serde_json::{Map, Value};

/// The most bytes of a Modelfile. Licenses are the longest that is in them.
const MOST_BYTES: usize = 4 << 20;

/// The most commands of a Modelfile.
const MOST_COMMANDS: usize = 4096;

/// What a Modelfile says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modelfile {
    /// `FROM`: a model or a path.
    pub from: String,
    /// `PARAMETER`: names and values, as they are written.
    pub parameters: Vec<(String, String)>,
    /// `TEMPLATE`: the chat template.
    pub template: Option<String>,
    /// `SYSTEM`: what the model is told before every conversation.
    pub system: Option<String>,
    /// `ADAPTER`: paths.
    pub adapters: Vec<String>,
    /// `LICENSE`.
    pub licenses: Vec<String>,
    /// `MESSAGE`: roles and texts.
    pub messages: Vec<(String, String)>,
    /// `REQUIRES`: the least version of the program.
    pub requires: Option<String>,
}

/// Why a text is no Modelfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelfileError {
    /// Which line, from 1; where a text between quotes has no end, the line where it begins.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for ModelfileError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Modelfile line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ModelfileError {}

/// Reads a Modelfile.
pub fn parse(text: &str) -> Result<Modelfile, ModelfileError> {
    let error = |line: usize, message: String| ModelfileError { line, message };
    if text.len() > MOST_BYTES {
        let n = text.len();
        return Err(error(1, format!("the file has {n} bytes; at most {MOST_BYTES} are allowed")));
    }
    let mut file = Modelfile::default();
    let mut reader = Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let mut n_commands = 0;
    while reader.skip_to_command() {
        let line = reader.line;
        n_commands += 1;
        if n_commands > MOST_COMMANDS {
            return Err(error(line, format!("there are more than {MOST_COMMANDS} commands")));
        }
        reader.command(&mut file).map_err(|message| error(line, message))?;
    }
    match file.from.is_empty() {
        true => Err(error(reader.line, "there is no FROM, which says what the model is made of".to_owned())),
        false => Ok(file),
    }
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Reader<'t> {
    /// Skips empty lines and comments; false at the end.
    fn skip_to_command(&mut self) -> bool {
        loop {
            self.skip_blanks(|c| c.is_whitespace());
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            self.take_line();
        }
    }

    fn skip_blanks(&mut self, is_blank: impl Fn(char) -> bool) {
        let end = self.rest.find(|c| !is_blank(c)).unwrap_or(self.rest.len());
        self.take(end);
    }

    fn take(&mut self, len: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        self.line += taken.bytes().filter(|byte| *byte == b'\n').count();
        taken
    }

    /// The rest of the line, without blanks around it.
    fn take_line(&mut self) -> &'t str {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.take(end).trim()
    }

    fn take_word(&mut self) -> &'t str {
        self.skip_blanks(is_blank_in_line);
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn command(&mut self, file: &mut Modelfile) -> Result<(), String> {
        let command = self.take_word();
        match command.to_ascii_uppercase().as_str() {
            "FROM" => file.from = self.text(command)?,
            "PARAMETER" => {
                let name = self.take_word().to_ascii_lowercase();
                file.parameters.push((name, self.text(command)?));
            }
            "TEMPLATE" => file.template = Some(self.text(command)?),
            "SYSTEM" => file.system = Some(self.text(command)?),
            "ADAPTER" => file.adapters.push(self.text(command)?),
            "LICENSE" => file.licenses.push(self.text(command)?),
            "MESSAGE" => {
                let role = self.take_word();
                if !["system", "user", "assistant"].contains(&role) {
                    return Err(format!(
                        "MESSAGE has the role {role:?}; it must be system, user or assistant"
                    ));
                }
                file.messages.push((role.to_owned(), self.text(command)?));
            }
            "REQUIRES" => file.requires = Some(self.text(command)?),
            _ => {
                let shown: String = command.chars().take(40).collect();
                return Err(format!(
                    "{shown:?} is no command; commands are FROM, PARAMETER, TEMPLATE, SYSTEM, ADAPTER, LICENSE, \
                     MESSAGE and REQUIRES"
                ));
            }
        }
        Ok(())
    }

    /// A command's text.
    fn text(&mut self, command: &str) -> Result<String, String> {
        self.skip_blanks(is_blank_in_line);
        let text = if let Some(rest) = self.rest.strip_prefix("\"\"\"") {
            let open = || format!("{command} begins with \"\"\" that is not closed");
            let end = rest.find("\"\"\"").ok_or_else(open)?;
            // Of more marks in a row the last three close, so that a text may end with one.
            let end = end + rest[end + 3..].bytes().take_while(|byte| *byte == b'"').count();
            let text = &self.take(3 + end + 3)[3..3 + end];
            self.expect_line_end(command)?;
            text
        } else {
            let line = self.take_line();
            line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).unwrap_or(line)
        };
        match text.is_empty() && !["SYSTEM", "TEMPLATE", "LICENSE"].contains(&&*command.to_ascii_uppercase())
        {
            true => Err(format!("{command} says nothing")),
            false => Ok(text.to_owned()),
        }
    }

    fn expect_line_end(&mut self, command: &str) -> Result<(), String> {
        match self.take_line() {
            "" => Ok(()),
            _ => Err(format!("{command} has more text after its closing \"\"\"")),
        }
    }
}

fn is_blank_in_line(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

impl Modelfile {
    /// The parameters by the names of `options`: those that may be several, as a list, and numbers as numbers.
    pub fn options(&self) -> Map<String, Value> {
        let mut options = Map::new();
        for (name, text) in &self.parameters {
            if name == "stop" {
                let stops = options.entry("stop").or_insert_with(|| Value::Array(Vec::new()));
                stops.as_array_mut().into_iter().for_each(|stops| stops.push(text.as_str().into()));
                continue;
            }
            let value = serde_json::from_str(text)
                .ok()
                .filter(|value: &Value| value.is_number() || value.is_boolean());
            options.insert(name.clone(), value.unwrap_or_else(|| text.as_str().into()));
        }
        options
    }
}

impl fmt::Display for Modelfile {
    /// A Modelfile that says the same, if no text has `"""` before its end, which none can say.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "FROM {}", quoted(&self.from))?;
        for (command, text) in [("TEMPLATE", &self.template), ("SYSTEM", &self.system)] {
            if let Some(text) = text {
                writeln!(f, "{command} {}", quoted(text))?;
            }
        }
        for (name, value) in &self.parameters {
            writeln!(f, "PARAMETER {name} {}", quoted(value))?;
        }
        for (command, texts) in [("ADAPTER", &self.adapters), ("LICENSE", &self.licenses)] {
            for text in texts {
                writeln!(f, "{command} {}", quoted(text))?;
            }
        }
        for (role, text) in &self.messages {
            writeln!(f, "MESSAGE {role} {}", quoted(text))?;
        }
        if let Some(version) = &self.requires {
            writeln!(f, "REQUIRES {}", quoted(version))?;
        }
        Ok(())
    }
}

/// A text as it stands after a command: in quotes where it would not be read back as it is.
fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty() && text.trim() == text && !text.contains(['\n', '"']);
    if is_plain {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 6);
    let marks = if text.contains(['\n', '"']) { "\"\"\"" } else { "\"" };
    let _ = write!(quoted, "{marks}{text}{marks}");
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "# A comment\n\nfrom  llama3.2:1b \r\nPARAMETER temperature 0.5\nparameter stop \"<|eot_id|>\"\n\
        Parameter STOP two words\nPARAMETER num_ctx 4096\nPARAMETER use_mmap true\n\
        TEMPLATE \"\"\"{{ .System }}\n# no comment\n{{ .Prompt }}\"\"\"\nSYSTEM You are \"Puna\", a program.\n\
        SYSTEM \"\"\"\nTwo\nlines\"\"\"  \nADAPTER ./a.gguf\nLICENSE one\nLICENSE \"\"\"t\nwo\"\"\"\n\
        MESSAGE user Hi, who are you?\nMESSAGE assistant \"\"\"I am\nhere.\"\"\"\nREQUIRES 0.1.0";

    #[test]
    fn all_commands() {
        let file = parse(WHOLE).unwrap();
        assert_eq!(file.from, "llama3.2:1b");
        assert_eq!(file.template.as_deref(), Some("{{ .System }}\n# no comment\n{{ .Prompt }}"));
        assert_eq!(file.system.as_deref(), Some("\nTwo\nlines"));
        assert_eq!((file.adapters.len(), file.licenses.len(), file.messages.len()), (1, 2, 2));
        assert_eq!(file.messages[1], ("assistant".to_owned(), "I am\nhere.".to_owned()));
        assert_eq!(file.requires.as_deref(), Some("0.1.0"));
        let options = serde_json::json!(
            {"temperature": 0.5, "stop": ["<|eot_id|>", "two words"], "num_ctx": 4096, "use_mmap": true});
        assert_eq!(Value::Object(file.options()), options);
    }

    #[test]
    fn what_is_printed_reads_the_same() {
        let file = parse(WHOLE).unwrap();
        assert_eq!(parse(&file.to_string()), Ok(file));
        for text in [
            "",
            " a ",
            "a \"b\" c",
            "\"a\"",
            "a\nb",
            "\"",
            "a\"",
            "\"a",
            "#a",
            "\n",
            "a\u{2028}b",
            "\"\"",
            "\"\"a\"\"",
            "a\n\"",
        ] {
            let file =
                Modelfile { from: "m".to_owned(), system: Some(text.to_owned()), ..Modelfile::default() };
            assert_eq!(parse(&file.to_string()), Ok(file), "{text:?}");
        }
    }

    #[test]
    fn faults_have_lines() {
        let many = "FROM m\n".repeat(MOST_COMMANDS + 1);
        let long = " ".repeat(MOST_BYTES + 1);
        let cases = [
            ("", 1, "no FROM"),
            ("# nothing\n\n", 3, "no FROM"),
            ("FROM", 1, "says nothing"),
            ("FROM m\n\nRUN x", 3, "\"RUN\" is no command"),
            ("FROM m\nSYSTEM \"\"\"a\nb\n", 2, "not closed"),
            ("FROM m\nSYSTEM \"\"\"a\nb\"\"\" c\n", 2, "after its closing"),
            ("FROM m\nMESSAGE tool x", 2, "\"tool\""),
            ("FROM m\nPARAMETER stop\n", 2, "says nothing"),
            ("FROM m\nMESSAGE user \n", 2, "says nothing"),
            (&many, MOST_COMMANDS + 1, "commands"),
            (&long, 1, "bytes"),
        ];
        for (text, line, word) in cases {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
