//! JSON schemas, rewritten so that llguidance enforces all that they say.
//!
//! Of a schema (2020-12, and what earlier drafts and OpenAPI 3.0 write otherwise) each keyword is one of four: enforced by
//! llguidance; put in the words of those (`propertyNames` with an enum, `nullable`, a `oneOf` of which only one branch can
//! hold); dropped, because it constrains nothing (titles, defaults, unknown formats, unknown keywords); or refused by its
//! name and place. Nothing that constrains is dropped. References are followed within the document, and what they point at
//! is gathered in `$defs`; the keywords of one schema are written in the order in which llguidance reads them, so that its
//! recursion is as deep as ours, which is bounded.

use std::collections::HashMap;

use serde_json::{Map, Number, Value, json};

use super::disjoint;
use super::document::Document;
use super::weight::{MAX_WEIGHT, Weight};
use super::words::regex_fact;

/// The most bytes of a schema's text.
pub(super) const MAX_SCHEMA_BYTES: usize = 4 << 20;

/// The most schemas in one, those of properties and branches and values of enums counted.
const MAX_SCHEMAS: usize = 40_000;

/// The most properties, and patterns of properties, of one schema. What they take grows with their square.
const MAX_PROPERTIES: usize = 2000;
const MAX_PATTERNS: usize = 64;

/// How deep schemas stand in each other, references followed where they are met first.
const MAX_DEPTH: usize = 600;

/// The most references that lead from one to the next.
const MAX_REFERENCES: usize = 64;

/// The formats that llguidance enforces. Others are annotations, as 2020-12 has it.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];

const TYPES: [&str; 7] = ["null", "boolean", "number", "integer", "string", "array", "object"];

/// Keywords that are passed on as they are. Their values are checked by llguidance.
const ENFORCED: [&str; 10] = [
    "minItems",
    "maxItems",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "multipleOf",
    "pattern",
    "format",
];

const BOUNDS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];

/// Keywords that constrain, and that nothing here enforces.
const REFUSED: [&str; 13] = [
    "not",
    "if",
    "uniqueItems",
    "contains",
    "unevaluatedItems",
    "unevaluatedProperties",
    "dependentSchemas",
    "dependentRequired",
    "dependencies",
    "propertyNames",
    "$dynamicRef",
    "$recursiveRef",
    "extends",
];

/// Whole numbers of 64 bits, as far as llguidance counts: the last one that a double has as well.
const MAX_INTEGER: f64 = 9_223_372_036_854_774_784.0;

/// Whole numbers up to here have a double each.
const MAX_EXACT: u64 = 1 << 53;

/// The most decimals of multiples.
const MAX_DECIMALS: u32 = 4;

/// What all multiples of a schema may have in common at most, in units of their last decimal.
const MAX_MULTIPLE: u64 = 65_535;

/// The same constraints in keywords that llguidance enforces; or what cannot be enforced, and where.
pub(super) fn rewrite(schema: &Value) -> Result<Value, String> {
    let mut rewriter = Rewriter {
        document: Document::new(schema),
        names: HashMap::new(),
        defs: Map::new(),
        weights: HashMap::new(),
        multiple: 1,
        n_decimals: 0,
        depth: 0,
        n: 0,
    };
    let (root, _) = rewriter.schema(schema, "")?;
    let mut root = match root {
        Value::Object(map) => map,
        Value::Bool(false) => return Err("the schema is `false`, which no answer satisfies".into()),
        _ => Map::new(),
    };
    if !rewriter.defs.is_empty() {
        root.insert("$defs".into(), Value::Object(rewriter.defs));
    }
    Ok(Value::Object(root))
}

/// Refuses a keyword.
fn refused<T>(keyword: &str, at: &str, fact: &str) -> Result<T, String> {
    Err(format!("`{keyword}` at `{at}/{keyword}` {fact}"))
}

fn child(at: &str, keyword: &str, key: impl std::fmt::Display) -> String {
    let key = key.to_string().replace('~', "~0").replace('/', "~1");
    format!("{at}/{keyword}/{key}")
}

struct Rewriter<'s> {
    document: Document<'s>,
    /// The names of what references point at, by pointer.
    names: HashMap<String, String>,
    defs: Map<String, Value>,
    /// Of what references point at, by name.
    weights: HashMap<String, Weight>,
    /// What all multiples have in common, in units of their last decimal.
    multiple: u64,
    n_decimals: u32,
    depth: usize,
    n: usize,
}

type Rewritten = Result<(Value, Weight), String>;

impl<'s> Rewriter<'s> {
    /// One schema, which stands at the pointer `at`.
    fn schema(&mut self, schema: &'s Value, at: &str) -> Rewritten {
        self.count(1, at)?;
        let map = match schema {
            Value::Bool(_) => return Ok((schema.clone(), Weight::ONE)),
            Value::Object(map) => map,
            _ => {
                return Err(format!(
                    "what stands at `{at}` is no schema: it must be an object, true or false"
                ));
            }
        };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("schemas are nested more than {MAX_DEPTH} deep at `{at}`"));
        }
        check_keywords(map, at)?;
        let rewritten = self.keywords(map, at)?;
        self.depth -= 1;
        Ok(match map.get("nullable") {
            Some(Value::Bool(true)) => {
                let (value, weight) = rewritten;
                (json!({"anyOf": [value, {"type": "null"}]}), weight.or(Weight::ONE))
            }
            _ => rewritten,
        })
    }

    fn count(&mut self, n: usize, at: &str) -> Result<(), String> {
        self.n += n;
        match self.n > MAX_SCHEMAS {
            true => Err(format!("there are more than {MAX_SCHEMAS} schemas and values in it, up to `{at}`")),
            false => Ok(()),
        }
    }

    /// The keywords of a schema: first those that stand alone, then those that combine schemas.
    fn keywords(&mut self, map: &'s Map<String, Value>, at: &str) -> Rewritten {
        let mut out = Map::new();
        let mut weight = self.simple_keywords(map, at, &mut out)?;
        let has_simple = !out.is_empty();
        let mut parts = Vec::new();
        for keyword in ["const", "enum"] {
            if let Some(value) = map.get(keyword) {
                let values = match value {
                    Value::Array(values) if keyword == "enum" => &values[..],
                    _ if keyword == "enum" => return refused(keyword, at, "must be an array"),
                    value => std::slice::from_ref(value),
                };
                if values.is_empty() {
                    return refused(keyword, at, "has no values");
                }
                self.count(values.len(), at)?;
                values.iter().try_for_each(|value| check_value(value, keyword, at))?;
                out.insert(keyword.into(), value.clone());
                parts.push(Weight::options(values.len(), values.len()));
            }
        }
        let mut all = Vec::new();
        for (i, schema) in array(map, "allOf", at)?.iter().enumerate() {
            let (value, weight) = self.schema(schema, &child(at, "allOf", i))?;
            all.push(value);
            parts.push(weight);
        }
        if let Some(one) = self.branches(map, "oneOf", at, &mut parts)? {
            all.push(json!({ "anyOf": one }));
        }
        if !all.is_empty() {
            out.insert("allOf".into(), Value::Array(all));
        }
        if let Some(any) = self.branches(map, "anyOf", at, &mut parts)? {
            out.insert("anyOf".into(), Value::Array(any));
        }
        if let Some(reference) = map.get("$ref") {
            let (name, weight) = self.reference(reference, at)?;
            out.insert("$ref".into(), Value::String(format!("#/$defs/{name}")));
            // Alone it is followed only when an answer comes to it.
            let is_alone = !has_simple && parts.is_empty();
            parts.push(if is_alone { Weight::ONE } else { weight });
        }
        if !has_simple && let [only] = parts[..] {
            return Ok((Value::Object(out), only));
        }
        for part in parts {
            weight = weight.and(part);
        }
        match weight.cost > MAX_WEIGHT {
            true => Err(format!(
                "the keywords at `{at}` combine into too many schemas; give `anyOf` fewer branches"
            )),
            false => Ok((Value::Object(out), weight)),
        }
    }

    /// Branches of `anyOf`, or of `oneOf` if only one of them can hold.
    fn branches(
        &mut self,
        map: &'s Map<String, Value>,
        keyword: &str,
        at: &str,
        parts: &mut Vec<Weight>,
    ) -> Result<Option<Vec<Value>>, String> {
        if !map.contains_key(keyword) {
            return Ok(None);
        }
        let branches = array(map, keyword, at)?;
        if branches.is_empty() {
            return refused(keyword, at, "has no branches");
        }
        if keyword == "oneOf"
            && let Some((i, j)) = disjoint::overlap(self.document, branches)
        {
            let fact =
                format!("cannot be enforced: branches {i} and {j} may both hold; if they may, use `anyOf`");
            return refused(keyword, at, &fact);
        }
        let mut values = Vec::new();
        let mut weight = Weight::NONE;
        for (i, branch) in branches.iter().enumerate() {
            let (value, one) = self.schema(branch, &child(at, keyword, i))?;
            values.push(value);
            weight = weight.or(one);
        }
        parts.push(weight);
        Ok(Some(values))
    }

    /// What a reference points at, as one of `$defs`: its name.
    fn reference(&mut self, reference: &Value, at: &str) -> Result<(String, Weight), String> {
        let Some(mut text) = reference.as_str() else { return refused("$ref", at, "must be a string") };
        // A reference to nothing but a reference is that one.
        let (mut pointer, mut target) =
            self.document.find(text).or_else(|fact| refused("$ref", at, &fact))?;
        let mut n_followed = 0;
        while let Some(next) = only_reference(target) {
            text = next;
            (pointer, target) = self.document.find(text).or_else(|fact| refused("$ref", at, &fact))?;
            n_followed += 1;
            if n_followed > MAX_REFERENCES {
                return refused("$ref", at, "leads in a circle");
            }
        }
        if let Some(name) = self.names.get(&pointer) {
            let weight = self.weights.get(name).copied();
            return Ok((name.clone(), weight.unwrap_or(Weight::ONE)));
        }
        let name = self.name_for(&pointer);
        self.names.insert(pointer.clone(), name.clone());
        let (value, weight) = self.schema(target, &pointer)?;
        self.defs.insert(name.clone(), value);
        self.weights.insert(name.clone(), weight);
        Ok((name, weight))
    }

    fn name_for(&self, pointer: &str) -> String {
        let last = pointer.rsplit('/').next().unwrap_or("");
        let last = if last.is_empty() { "root" } else { last };
        let plain: String =
            last.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).take(40).collect();
        format!("{plain}_{}", self.names.len())
    }

    /// Keywords about arrays, objects, strings and numbers.
    fn simple_keywords(
        &mut self,
        map: &'s Map<String, Value>,
        at: &str,
        out: &mut Map<String, Value>,
    ) -> Result<Weight, String> {
        let mut weight = Weight::options(types(map, at)?, 1);
        if let Some(types) = map.get("type") {
            out.insert("type".into(), types.clone());
        }
        for (keyword, value) in map {
            match keyword.as_str() {
                "format" if !value.as_str().is_some_and(|name| FORMATS.contains(&name)) => {}
                "pattern" => {
                    check_pattern(value, keyword, at)?;
                    out.insert(keyword.clone(), value.clone());
                }
                // Longer than any answer.
                "maxLength" if value.as_u64().is_some_and(|length| length >= u32::MAX.into()) => {}
                "multipleOf" => {
                    self.multiple_of(value, at)?;
                    out.insert(keyword.clone(), value.clone());
                }
                name if BOUNDS.contains(&name) => {
                    out.insert(keyword.clone(), bound(name, value, at)?);
                }
                name if ENFORCED.contains(&name) => {
                    out.insert(keyword.clone(), value.clone());
                }
                _ => {}
            }
        }
        weight = weight.with(self.items(map, at, out)?).with(self.properties(map, at, out)?);
        Ok(if out.is_empty() { Weight::ONE } else { weight })
    }

    /// llguidance multiplies multiples in 32 bits.
    fn multiple_of(&mut self, value: &Value, at: &str) -> Result<(), String> {
        let (mut whole, mut n_decimals) = (value.as_f64().unwrap_or(0.0), 0);
        while whole.fract() != 0.0 && n_decimals < MAX_DECIMALS {
            whole *= 10.0;
            n_decimals += 1;
        }
        let multiple = if whole.fract() == 0.0 && whole <= MAX_MULTIPLE as f64 { whole as u64 } else { 0 };
        let decimals = self.n_decimals.max(n_decimals);
        let common = lcm(
            self.multiple * 10u64.pow(decimals - self.n_decimals),
            multiple * 10u64.pow(decimals - n_decimals),
        );
        if common == 0 || common > MAX_MULTIPLE {
            return refused(
                "multipleOf",
                at,
                "cannot be enforced: it, or all together, have too many digits",
            );
        }
        (self.multiple, self.n_decimals) = (common, decimals);
        Ok(())
    }

    fn items(
        &mut self,
        map: &'s Map<String, Value>,
        at: &str,
        out: &mut Map<String, Value>,
    ) -> Result<Weight, String> {
        // Before 2020-12, `items` was an array and what follows it `additionalItems`.
        let (first, rest) = match map.get("items") {
            Some(Value::Array(_)) => ("items", "additionalItems"),
            _ => ("prefixItems", "items"),
        };
        let mut weight = Weight::NONE;
        if map.contains_key(first) {
            let mut items = Vec::new();
            for (i, schema) in array(map, first, at)?.iter().enumerate() {
                let (value, one) = self.schema(schema, &child(at, first, i))?;
                items.push(value);
                weight = weight.with(one);
            }
            out.insert("prefixItems".into(), Value::Array(items));
        }
        if let Some(schema) = map.get(rest) {
            let (value, one) = self.schema(schema, &format!("{at}/{rest}"))?;
            out.insert("items".into(), value);
            weight = weight.with(one);
        }
        Ok(weight)
    }

    fn properties(
        &mut self,
        map: &'s Map<String, Value>,
        at: &str,
        out: &mut Map<String, Value>,
    ) -> Result<Weight, String> {
        let mut weight = Weight::NONE;
        for (keyword, max) in [("properties", MAX_PROPERTIES), ("patternProperties", MAX_PATTERNS)] {
            let schemas = match map.get(keyword) {
                None => continue,
                Some(Value::Object(schemas)) => schemas,
                Some(_) => return refused(keyword, at, "must be an object"),
            };
            if schemas.len() > max {
                return refused(keyword, at, &format!("has more than {max}"));
            }
            let mut properties = Map::new();
            for (name, schema) in schemas {
                if keyword == "patternProperties" {
                    check_pattern(&Value::String(name.clone()), keyword, at)?;
                }
                let (value, one) = self.schema(schema, &child(at, keyword, name))?;
                properties.insert(name.clone(), value);
                weight = weight.with(one);
            }
            out.insert(keyword.into(), Value::Object(properties));
        }
        let mut additional = "additionalProperties";
        // Without keywords that bring in other schemas, both say the same.
        let brings = ["$ref", "allOf", "anyOf", "oneOf"].iter().any(|keyword| map.contains_key(*keyword));
        if map.contains_key("unevaluatedProperties") && !brings && !map.contains_key(additional) {
            additional = "unevaluatedProperties";
        }
        if let Some(schema) = map.get(additional) {
            let (value, one) = self.schema(schema, &format!("{at}/{additional}"))?;
            out.insert("additionalProperties".into(), value);
            weight = weight.with(one);
        }
        if let Some(names) = map.get("propertyNames") {
            self.property_names(names, at, out)?;
        }
        check_counts(map, out, at)?;
        Ok(weight)
    }

    /// Names that properties may have become the properties that there are, or the pattern that their names match.
    fn property_names(&self, names: &'s Value, at: &str, out: &mut Map<String, Value>) -> Result<(), String> {
        let refuse = || {
            refused("propertyNames", at, "can be enforced with `enum`, `const`, `pattern` or lengths alone")
        };
        let mut names = names;
        for _ in 0..MAX_REFERENCES {
            let Some(text) = only_reference(names) else { break };
            names = self.document.find(text).or_else(|fact| refused("propertyNames", at, &fact))?.1;
        }
        let map = match names {
            Value::Bool(true) => return Ok(()),
            Value::Object(map) => map,
            _ => return refuse(),
        };
        if map.get("type").is_some_and(|types| types != "string") {
            return refuse();
        }
        let says = |keyword: &&String| constrains(keyword, &map[*keyword]) && *keyword != "type";
        let keywords: Vec<&str> = map.keys().filter(says).map(String::as_str).collect();
        if keywords.is_empty() {
            return Ok(());
        }
        let additional = out.get("additionalProperties").cloned().unwrap_or(Value::Bool(true));
        if out.contains_key("patternProperties") {
            return refuse();
        }
        let properties = match out.get("properties") {
            Some(Value::Object(properties)) => properties.clone(),
            _ => Map::new(),
        };
        match keywords[..] {
            ["enum" | "const"] => {
                let values = match &map[keywords[0]] {
                    Value::Array(values) => &values[..],
                    value => std::slice::from_ref(value),
                };
                let named = values
                    .iter()
                    .filter_map(Value::as_str)
                    .map(|name| (name.to_owned(), properties.get(name).unwrap_or(&additional).clone()));
                out.insert("properties".into(), Value::Object(named.collect()));
            }
            _ if !properties.is_empty() => return refuse(),
            ["pattern"] => {
                check_pattern(&map["pattern"], "pattern", &format!("{at}/propertyNames"))?;
                let pattern = map["pattern"].as_str().unwrap_or_default().to_owned();
                out.insert("patternProperties".into(), json!({ pattern: additional }));
            }
            ["minLength" | "maxLength"] | ["minLength", "maxLength"] | ["maxLength", "minLength"] => {
                let length = |keyword: &str| map.get(keyword).and_then(Value::as_u64).map(|n| n.to_string());
                let (min, max) = (length("minLength"), length("maxLength"));
                let pattern =
                    format!("^(?s:.){{{},{}}}$", min.unwrap_or("0".into()), max.unwrap_or_default());
                out.insert("patternProperties".into(), json!({ pattern: additional }));
            }
            _ => return refuse(),
        }
        out.insert("additionalProperties".into(), Value::Bool(false));
        Ok(())
    }
}

/// The schema that is only a reference, titles and the like aside: where it points.
pub(super) fn only_reference(schema: &Value) -> Option<&str> {
    let map = schema.as_object()?;
    let is_alone = map.iter().all(|(keyword, value)| keyword == "$ref" || !constrains(keyword, value));
    map.get("$ref").filter(|_| is_alone)?.as_str()
}

/// Whether a keyword says anything about answers.
fn constrains(keyword: &str, value: &Value) -> bool {
    let combining = ["$ref", "allOf", "anyOf", "oneOf", "const", "enum", "type", "items", "prefixItems"];
    let of_objects = ["properties", "patternProperties", "additionalProperties", "additionalItems"];
    match keyword {
        "format" => value.as_str().is_some_and(|name| FORMATS.contains(&name)),
        "nullable" => *value == Value::Bool(true),
        _ if REFUSED.contains(&keyword) => true,
        _ => [&combining[..], &of_objects, &ENFORCED, &BOUNDS].iter().any(|list| list.contains(&keyword)),
    }
}

fn array<'s>(map: &'s Map<String, Value>, keyword: &str, at: &str) -> Result<&'s [Value], String> {
    match map.get(keyword) {
        None => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => refused(keyword, at, "must be an array"),
    }
}

/// How many types a schema allows, of those that llguidance tells apart.
fn types(map: &Map<String, Value>, at: &str) -> Result<usize, String> {
    let is_type = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    match map.get("type") {
        None => Ok(TYPES.len() - 1),
        Some(Value::Array(types)) if !types.is_empty() && types.iter().all(is_type) => Ok(types.len()),
        Some(value) if is_type(value) => Ok(1),
        Some(value) => {
            let fact = format!("is {}; expected {}, or a list of these", brief(value), TYPES.join(", "));
            refused("type", at, &fact)
        }
    }
}

fn lcm(a: u64, b: u64) -> u64 {
    let (mut gcd, mut rest) = (a, b);
    while rest != 0 {
        (gcd, rest) = (rest, gcd % rest);
    }
    (a / gcd.max(1)).saturating_mul(b)
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("`{}...`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// Refuses what constrains and cannot be enforced.
fn check_keywords(map: &Map<String, Value>, at: &str) -> Result<(), String> {
    for (keyword, value) in map {
        let is_nothing = match keyword.as_str() {
            "uniqueItems" => *value == Value::Bool(false),
            "unevaluatedItems" => *value == Value::Bool(true),
            "unevaluatedProperties" => {
                let brings = ["$ref", "allOf", "anyOf", "oneOf"].iter().any(|other| map.contains_key(*other));
                *value == Value::Bool(true) || !brings || map.contains_key("additionalProperties")
            }
            "if" => !map.contains_key("then") && !map.contains_key("else"),
            "not" => *value == Value::Bool(false),
            "contains" => map.get("minContains").is_some_and(|n| *n == 0) && !map.contains_key("maxContains"),
            "dependentSchemas" | "dependentRequired" | "dependencies" => {
                value.as_object().is_some_and(Map::is_empty)
            }
            // Looked at with the properties.
            "propertyNames" => true,
            _ => !REFUSED.contains(&keyword.as_str()),
        };
        if !is_nothing {
            return refused(keyword, at, "cannot be enforced");
        }
    }
    if !at.is_empty() && map.get("$id").is_some_and(Value::is_string) {
        return refused("$id", at, "is understood at the root alone");
    }
    Ok(())
}

/// What llguidance counts properties of.
fn check_counts(map: &Map<String, Value>, out: &Map<String, Value>, at: &str) -> Result<(), String> {
    let count = |keyword: &str| map.get(keyword).and_then(Value::as_u64).unwrap_or(0) as usize;
    let n_required = map.get("required").and_then(Value::as_array).map_or(0, Vec::len);
    let is_open = out.get("additionalProperties") != Some(&Value::Bool(false));
    let is_open = is_open || out.contains_key("patternProperties");
    if is_open && count("minProperties") > n_required + 1 {
        let fact = "cannot be enforced where it asks for two that `required` does not name: they might have one name";
        return refused("minProperties", at, fact);
    }
    Ok(())
}

/// A pattern that llguidance reads.
fn check_pattern(value: &Value, keyword: &str, at: &str) -> Result<(), String> {
    let Some(text) = value.as_str() else { return refused(keyword, at, "must be a string") };
    let text = llguidance::regex_to_lark(text, "dw");
    let read = llguidance::derivre::RegexBuilder::new().mk_regex_for_serach(&text);
    read.map(|_| ()).or_else(|error| {
        let fact = regex_fact(&error.to_string());
        refused(keyword, at, &format!("has an expression that cannot be enforced: {fact}"))
    })
}

/// A bound of numbers, no wider than it was: llguidance counts in doubles, and whole numbers in 64 bits.
fn bound(keyword: &str, value: &Value, at: &str) -> Result<Value, String> {
    if value.is_boolean() && keyword.starts_with("exclusive") {
        return Ok(value.clone());
    }
    let Some(number) = value.as_f64() else { return refused(keyword, at, "must be a number") };
    let is_upper = keyword.ends_with("aximum");
    let outward = if is_upper { number } else { -number };
    if outward <= -MAX_INTEGER {
        return refused(keyword, at, "leaves only numbers of more than 64 bits");
    }
    let is_exact = matches!(value, Value::Number(number) if is_exact(number));
    let inward = if outward > MAX_INTEGER {
        if is_upper { MAX_INTEGER } else { -MAX_INTEGER }
    } else if is_exact {
        return Ok(value.clone());
    } else if is_upper {
        number.next_down()
    } else {
        number.next_up()
    };
    Ok(json!(inward))
}

/// Whether a number is one that a double holds.
fn is_exact(number: &Number) -> bool {
    let whole = number.as_u64().or(number.as_i64().map(i64::unsigned_abs));
    whole.is_none_or(|whole| whole <= MAX_EXACT)
}

/// A value that llguidance writes as it is.
fn check_value(value: &Value, keyword: &str, at: &str) -> Result<(), String> {
    match value {
        Value::Number(number) if !is_exact(number) => {
            refused(keyword, at, &format!("has the number {number}, which a double does not hold"))
        }
        Value::Array(values) => values.iter().try_for_each(|value| check_value(value, keyword, at)),
        Value::Object(map) => map.values().try_for_each(|value| check_value(value, keyword, at)),
        _ => Ok(()),
    }
}
