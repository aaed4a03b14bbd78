//! What is said of a model beside its weights, in a Modelfile or by the client that created it: what holds where a
//! request says nothing else.

use puna_wire::ollama::Options;
use puna_wire::ollama::manage::Create;
use puna_wire::{Ask, Chat, Fields, Input, Problem};

/// What a model has of its own. The default is nothing.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// As it was created; `None` where it is its files alone.
    pub create: Option<Create>,
    /// The model that it was made from, as the client called it.
    pub parent: String,
    options: Options,
}

impl Own {
    /// Fails if there is a parameter that cannot be.
    pub fn new(create: Create, parent: String) -> Result<Own, Problem> {
        let parameters = create.parameters.clone().into();
        let options = Options::read(&Fields::within(&parameters, "parameters")?)?;
        Ok(Own { create: Some(create), parent, options })
    }

    /// The longest sequence, where a request does not ask for another.
    pub fn context(&self) -> Option<usize> {
        self.options.context
    }

    /// Its chat template, as it was given.
    pub fn template(&self) -> &str {
        self.create.as_ref().and_then(|create| create.template.as_deref()).unwrap_or_default()
    }

    /// A question with what it leaves open filled in, and with what stands before every conversation.
    pub fn complete(&self, mut ask: Ask) -> Ask {
        if let Input::Chat(chat) = &mut ask.input {
            self.begin(chat);
        }
        let (said, own) = (&mut ask.sampling, &self.options.sampling);
        said.temperature = said.temperature.or(own.temperature);
        said.top_p = said.top_p.or(own.top_p);
        said.top_k = said.top_k.or(own.top_k);
        said.min_p = said.min_p.or(own.min_p);
        said.typical_p = said.typical_p.or(own.typical_p);
        said.repeat_penalty = said.repeat_penalty.or(own.repeat_penalty);
        said.presence_penalty = said.presence_penalty.or(own.presence_penalty);
        said.frequency_penalty = said.frequency_penalty.or(own.frequency_penalty);
        said.repeat_last_n = said.repeat_last_n.or(own.repeat_last_n);
        said.seed = said.seed.or(own.seed);
        ask.max_tokens = ask.max_tokens.or(self.options.max_tokens);
        if ask.stop.is_empty() {
            ask.stop.clone_from(&self.options.stop);
        }
        ask
    }

    /// Puts the system message first, unless the conversation begins with one, and its messages after that.
    fn begin(&self, chat: &mut Chat) {
        let Some(create) = &self.create else { return };
        let n_system = chat.messages.iter().take_while(|message| message.role == "system").count();
        let system = create.system.iter().filter(|_| n_system == 0);
        let system = system.map(|text| puna::Message::new("system", text.as_str()));
        let before: Vec<_> = system.chain(create.messages.iter().cloned()).collect();
        chat.messages.splice(n_system..n_system, before);
    }
}

#[cfg(test)]
mod tests {
    use puna_wire::Sampling;
    use puna_wire::ollama::manage::read_create;
    use serde_json::json;

    use super::*;

    fn own() -> Own {
        let body = json!({
            "model": "n", "from": "m", "system": "own", "messages": [{"role": "user", "content": "a"}],
            "parameters": {"temperature": 0.5, "seed": 3, "stop": "x", "num_predict": 9, "num_ctx": 64},
        });
        Own::new(read_create(&body).unwrap(), "m".into()).unwrap()
    }

    fn said(ask: Ask) -> Vec<(String, String)> {
        let Input::Chat(chat) = ask.input else { panic!("{:?}", ask.input) };
        chat.messages.iter().map(|message| (message.role.to_string(), message.text())).collect()
    }

    fn chat(messages: &[(&'static str, &str)]) -> Ask {
        let messages = messages.iter().map(|(role, text)| puna::Message::new(*role, *text)).collect();
        Ask { input: Input::Chat(Chat { messages, ..Chat::default() }), ..Ask::default() }
    }

    #[test]
    fn what_a_request_says_wins() {
        let open = own().complete(Ask::default());
        assert_eq!((open.sampling.temperature, open.sampling.seed), (Some(0.5), Some(3)));
        assert_eq!((open.max_tokens, open.stop), (Some(9), vec!["x".to_owned()]));
        let sampling = Sampling { temperature: Some(0.0), ..Sampling::default() };
        let closed = Ask { sampling, max_tokens: Some(1), stop: vec!["y".into()], ..Ask::default() };
        let found = own().complete(closed.clone());
        assert_eq!(
            (found.sampling.temperature, found.max_tokens, &found.stop),
            (Some(0.0), Some(1), &closed.stop)
        );
        assert_eq!(own().context(), Some(64));
        assert_eq!(Own::default().complete(closed.clone()), closed);
    }

    #[test]
    fn conversations_begin_with_its_messages() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(role, text)| ((*role).to_owned(), (*text).to_owned())).collect()
        };
        let found = said(own().complete(chat(&[("user", "q")])));
        assert_eq!(found, pairs(&[("system", "own"), ("user", "a"), ("user", "q")]));
        let found = said(own().complete(chat(&[("system", "theirs"), ("user", "q")])));
        assert_eq!(found, pairs(&[("system", "theirs"), ("user", "a"), ("user", "q")]));
    }
}
