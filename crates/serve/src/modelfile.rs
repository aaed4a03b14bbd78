//! Modelfiles of the one who starts the server.

use std::path::Path;

use puna::Options;
use puna_formats::visible_path;
use puna_wire::ollama::manage::Create;
use puna_wire::ollama::modelfile::parse;
use puna_wire::ollama::name::Name;

use crate::library::format_of;
use crate::models::ServedModel;

impl ServedModel {
    /// Whether a file is a Modelfile, by its name: `Modelfile`, `Modelfile.pirate`, `pirate.modelfile`.
    pub fn is_modelfile(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        name == "modelfile" || name.starts_with("modelfile.") || name.ends_with(".modelfile")
    }

    /// The model that a Modelfile describes, whose text was read from `path`. `FROM` is a path beside it; where there is
    /// nothing, it is told as it stands.
    ///
    /// # Errors
    /// It is no Modelfile, or says what no model here can have: adapters, a template that is not known, a parameter
    /// that is none.
    pub fn of_modelfile(text: &str, path: &Path, options: Options) -> Result<ServedModel, String> {
        let fail = |fact: String| format!("cannot serve `{}`\n  {fact}", visible_path(path));
        let file = parse(text).map_err(|error| fail(error.to_string()))?;
        if !file.adapters.is_empty() {
            return Err(fail(
                "ADAPTER is not supported: use a model that the adapter was merged into".into(),
            ));
        }
        // What the model is called is said elsewhere.
        let name = Name::parse("modelfile", "model").map_err(|problem| fail(problem.message))?;
        let create = Create::of_modelfile(name, &file);
        create.check_parameters().map_err(|problem| fail(problem.message))?;
        let format = file.template.as_deref().filter(|template| !template.is_empty()).map(format_of);
        let format = format.transpose().map_err(|problem| fail(problem.message))?;
        let beside = path.parent().unwrap_or(Path::new("")).join(&file.from);
        let from = if beside.exists() { beside } else { file.from.clone().into() };
        let options = Options { chat_format: format.or(options.chat_format), ..options };
        Ok(ServedModel { name: None, path: Some(from), options, own: Some(create) })
    }
}
