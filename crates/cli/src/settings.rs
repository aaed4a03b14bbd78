//! What `/set` changes in a chat, by the names of the program's options.

use puna::{SamplingParams, WhenFull};

use crate::answer::{Answerer, parse_max_tokens, parse_seed};

/// What is set to a value.
#[derive(Clone, Copy, Debug)]
enum Setting {
    /// A number of the sampling.
    Sampling(fn(&mut SamplingParams) -> &mut f64),
    TopK,
    Seed,
    MaxTokens,
    Context,
    ContextFull,
    Verbose,
    Wrap,
}

/// Names, what they set, and what that is.
const SETTINGS: [(&str, Setting, &str); 14] = [
    (
        "temperature",
        Setting::Sampling(|s| &mut s.temperature),
        "0 always the likeliest token, above 1 more varied",
    ),
    ("top-k", Setting::TopK, "among the K likeliest tokens; 0 is all"),
    ("top-p", Setting::Sampling(|s| &mut s.top_p), "among the likeliest that together have this probability"),
    ("min-p", Setting::Sampling(|s| &mut s.min_p), "none less likely than this share of the likeliest"),
    ("typical-p", Setting::Sampling(|s| &mut s.typical_p), "among the most typical of this probability"),
    (
        "repeat-penalty",
        Setting::Sampling(|s| &mut s.repeat_penalty),
        "scores of tokens that occurred, divided by this",
    ),
    ("presence-penalty", Setting::Sampling(|s| &mut s.presence_penalty), "subtracted from them"),
    ("frequency-penalty", Setting::Sampling(|s| &mut s.frequency_penalty), "subtracted once for each time"),
    ("seed", Setting::Seed, "the same seed gives the same answers; -1 draws one"),
    ("max-tokens", Setting::MaxTokens, "the most tokens of an answer; -1 until the model ends it"),
    ("context", Setting::Context, "the most tokens of prompt and answer together"),
    ("context-full", Setting::ContextFull, "stop, drop-oldest or drop-middle"),
    ("verbose", Setting::Verbose, "on or off: a line about each answer"),
    ("wrap", Setting::Wrap, "on or off: words are wrapped at the terminal's width"),
];

/// The names of [`WhenFull`].
pub const WHEN_FULL: [(&str, WhenFull); 3] =
    [("stop", WhenFull::Stop), ("drop-oldest", WhenFull::DropOldest), ("drop-middle", WhenFull::DropMiddle)];

/// The policy of this name.
pub fn when_full(name: &str) -> Option<WhenFull> {
    WHEN_FULL.iter().find(|(known, _)| *known == name).map(|(_, policy)| *policy)
}

/// What a chat has to do itself about a setting.
#[derive(Debug, PartialEq)]
pub enum Change {
    /// Nothing more.
    Done,
    /// Take this context.
    Context(usize),
    /// Take this policy.
    WhenFull(WhenFull),
}

/// Sets `name` to `value`, or says what is wrong.
pub fn set(answerer: &mut Answerer, name: &str, value: &str) -> Result<Change, String> {
    let name = name.trim_start_matches('-').replace('_', "-");
    // By the names of options here and elsewhere.
    let name = match name.as_str() {
        "ctx" | "num-ctx" => "context",
        "n" | "length" | "num-predict" => "max-tokens",
        "temp" => "temperature",
        name => name,
    };
    let Some((name, setting, _)) = SETTINGS.iter().find(|(known, ..)| *known == name) else {
        let names: Vec<&str> = SETTINGS.iter().map(|(name, ..)| *name).collect();
        return Err(format!("there is no setting `{name}`\n  there are {}", names.join(", ")));
    };
    let wrong = |fact: &str| format!("{name} cannot be `{value}`\n  {fact}");
    let mut sampling = answerer.sampling.clone();
    let count = || value.parse::<usize>().map_err(|_| wrong("expected a whole number from 0 on"));
    let flag = || match value.to_lowercase().as_str() {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => Err(wrong("expected on or off")),
    };
    match setting {
        Setting::Sampling(field) => {
            *field(&mut sampling) = value.parse().map_err(|_| wrong("expected a number"))?
        }
        Setting::TopK => sampling.top_k = count()?,
        Setting::Seed => sampling.seed = Some(parse_seed(value).map_err(|fact| wrong(&fact))?),
        Setting::MaxTokens if value == "default" => answerer.max_tokens = None,
        Setting::MaxTokens => {
            answerer.max_tokens = Some(parse_max_tokens(value).map_err(|fact| wrong(&fact))?);
        }
        Setting::Context => return count().map(Change::Context),
        Setting::ContextFull => {
            return when_full(value)
                .map(Change::WhenFull)
                .ok_or_else(|| wrong("expected stop, drop-oldest or drop-middle"));
        }
        Setting::Verbose => answerer.verbose = flag()?,
        Setting::Wrap => answerer.wraps = flag()?,
    }
    sampling.validate().map_err(|error| error.to_string())?;
    answerer.sampling = sampling;
    Ok(Change::Done)
}

/// All settings with their values and meanings.
pub fn table(answerer: &Answerer, context: usize, policy: WhenFull) -> String {
    let value = |setting: &Setting| match setting {
        Setting::Sampling(field) => field(&mut answerer.sampling.clone()).to_string(),
        Setting::TopK => answerer.sampling.top_k.to_string(),
        Setting::Seed => answerer.sampling.seed.map_or("-1".into(), |seed| seed.to_string()),
        Setting::MaxTokens => match answerer.max_tokens {
            None => "default".into(),
            Some(usize::MAX) => "-1".into(),
            Some(n) => n.to_string(),
        },
        Setting::Context => context.to_string(),
        Setting::ContextFull => {
            WHEN_FULL.iter().find(|(_, known)| *known == policy).map_or("", |(name, _)| name).to_owned()
        }
        Setting::Verbose => if answerer.verbose { "on" } else { "off" }.to_owned(),
        Setting::Wrap => if answerer.wraps { "on" } else { "off" }.to_owned(),
    };
    let line = |(name, setting, meaning): &(&str, Setting, &str)| {
        let about = format!("{name} = {}", value(setting));
        format!("{about:26}  {meaning}\n")
    };
    SETTINGS.iter().map(line).collect()
}
