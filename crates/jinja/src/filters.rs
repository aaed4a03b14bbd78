//! Jinja2's filters, and transformers' `tojson`. Not there are those that make random choices or lay out web
//! pages.

use std::cmp::Ordering;

use crate::error::Error;
use crate::format::to_int;
use crate::lexer::is_space;
use crate::limits::Charge;
use crate::methods::{first_line, needed, texts, whole};
use crate::operators::too_large;
use crate::print::JsonStyle;
use crate::render::Renderer;
use crate::text::{Mark, Text, Writer};
use crate::value::{Args, List, Missing, Value};

impl<'a> Renderer<'a> {
    /// `value | name(arguments)`
    pub(crate) fn filter(&self, name: &str, value: Value<'a>, args: Args<'a>) -> Result<Value<'a>, Error> {
        if let Value::Undefined(missing @ Missing::Unsafe(..)) = &value {
            return Err(missing.error());
        }
        self.read_texts(Some(&value), &args)?;
        match name {
            "abs" => {
                args.none(name)?;
                match &value {
                    Value::Float(number) => Ok(Value::Float(number.abs())),
                    other => match other.as_int().and_then(i128::checked_abs) {
                        Some(number) => Ok(Value::Int(number)),
                        None => Err(Error::failed(format!("`abs` does not take a {}", other.kind()))),
                    },
                }
            }
            "attr" => {
                let [attribute] = args.bind(name, ["name"])?;
                match needed(name, "name", attribute)? {
                    // Without its items, a dictionary has methods alone.
                    Value::Text(Text::Borrowed(attribute, _)) => match &value {
                        Value::Dict(_) if !crate::methods::has_method(&value, attribute) => {
                            Ok(Value::Undefined(Missing::Attribute("dict", attribute)))
                        }
                        value => self.attribute(value, attribute),
                    },
                    _ => Ok(Value::Undefined(Missing::Item(value.kind()))),
                }
            }
            "batch" | "slice" => self.tiled(name, &value, args),
            "capitalize" | "lower" | "title" | "upper" => {
                args.none(name)?;
                let text = self.to_text(&value)?;
                let cased = if name == "title" { self.titled(&text)? } else { self.with_case(&text, name)? };
                Ok(Value::Text(cased))
            }
            "center" => {
                let [width] = args.bind(name, ["width"])?;
                let width = width.map_or(Ok(80), |width| whole(name, &width))?;
                let text = self.to_text(&value)?;
                let blank = Text::Borrowed(" ", Mark::TEMPLATE);
                Ok(Value::Text(self.padded(&text, name, width, &blank)?))
            }
            "count" | "length" => {
                args.none(name)?;
                self.length(&value).map(|n| Value::Int(n as i128))
            }
            "d" | "default" => {
                let [default, for_false] = args.bind(name, ["default_value", "boolean"])?;
                let takes_false = for_false.is_some_and(|flag| flag.is_true());
                Ok(match value {
                    Value::Undefined(_) => default.unwrap_or(Value::Text(Text::EMPTY)),
                    value if takes_false && !value.is_true() => default.unwrap_or(Value::Text(Text::EMPTY)),
                    value => value,
                })
            }
            "dictsort" => {
                let [case_sensitive, by, reverse] = args.bind(name, ["case_sensitive", "by", "reverse"])?;
                let by_value = match by {
                    None => false,
                    Some(by) => match texts(name, &by)?.as_str() {
                        "key" => false,
                        "value" => true,
                        _ => return Err(Error::failed("`dictsort` sorts by `key` or `value`")),
                    },
                };
                let Value::Dict(dict) = &value else {
                    return Err(Error::failed(format!("`dictsort` does not take a {}", value.kind())));
                };
                let is_exact = case_sensitive.is_some_and(|flag| flag.is_true());
                let keyed = dict.entries().iter().map(|(key, value)| {
                    let by = if by_value { value.clone() } else { key.clone() };
                    let pair = List::new(&self.meter, vec![key.clone(), value.clone()])?;
                    Ok((self.fold(by, is_exact)?, Value::Tuple(pair)))
                });
                let keyed = keyed.collect::<Result<_, Error>>()?;
                self.sorted(keyed, reverse.is_some_and(|flag| flag.is_true()))
            }
            "e" | "escape" | "forceescape" => {
                args.none(name)?;
                let text = self.to_text(&value)?;
                let mut out = Writer::new(&self.meter)?;
                for (c, mark) in text.chars() {
                    match c {
                        '&' => out.push("&amp;", mark)?,
                        '<' => out.push("&lt;", mark)?,
                        '>' => out.push("&gt;", mark)?,
                        '\'' => out.push("&#39;", mark)?,
                        '"' => out.push("&#34;", mark)?,
                        c => out.push_char(c, mark)?,
                    }
                }
                Ok(Value::Text(out.finish()))
            }
            "first" | "last" => {
                args.none(name)?;
                if let Value::Iterator(of) = &value {
                    let first = if name == "first" { of.next(&self.meter)? } else { None };
                    return match (name, first) {
                        ("last", _) => Err(Error::failed("an iterator has no `last`")),
                        (_, first) => Ok(first.unwrap_or(Value::Undefined(Missing::Item("iterator")))),
                    };
                }
                let items = self.items(&value)?;
                let n = if name == "first" { 0 } else { items.len().saturating_sub(1) };
                Ok(items.get(&self.meter, n)?.unwrap_or(Value::Undefined(Missing::Item("list"))))
            }
            "float" => {
                let [default] = args.bind(name, ["default"])?;
                let parsed = match &value {
                    Value::Text(text) => parse_float(text.as_str()),
                    Value::Undefined(missing) => return Err(missing.error()),
                    other => other.as_float(),
                };
                Ok(parsed.map(Value::Float).or(default).unwrap_or(Value::Float(0.0)))
            }
            "format" => Ok(Value::Text(self.format_filter(&value, args)?)),
            "groupby" => self.grouped(&value, args),
            "indent" => self.indented(&value, args),
            "int" => {
                let [default, base] = args.bind(name, ["default", "base"])?;
                let base = base.map_or(Ok(10), |base| whole(name, &base))?;
                let of_float = |number: f64| match to_int(number) {
                    None if number.is_finite() => Err(too_large()),
                    whole => Ok(whole),
                };
                let parsed = match &value {
                    Value::Text(text) => match parse_int(text.as_str(), base)? {
                        Some(whole) => Some(whole),
                        None => parse_float(text.as_str()).map_or(Ok(None), of_float)?,
                    },
                    Value::Float(number) if number.is_infinite() => {
                        return Err(Error::failed("`int` does not take what is infinite"));
                    }
                    Value::Float(number) => of_float(*number)?,
                    Value::Undefined(missing) => return Err(missing.error()),
                    other => other.as_int(),
                };
                Ok(parsed.map(Value::Int).or(default).unwrap_or(Value::Int(0)))
            }
            "items" => {
                args.none(name)?;
                match &value {
                    Value::Dict(dict) => {
                        let Value::List(pairs) = self.pairs(dict.entries())? else { return Ok(Value::None) };
                        Value::iterator(&self.meter, pairs.to_vec(&self.meter)?)
                    }
                    Value::Undefined(_) => Value::iterator(&self.meter, Vec::new()),
                    other => Err(Error::failed(format!("`items` does not take a {}", other.kind()))),
                }
            }
            "join" => {
                let [separator, attribute] = args.bind(name, ["d", "attribute"])?;
                let separator = separator.map_or(Ok(Text::EMPTY), |separator| self.to_text(&separator))?;
                let items = self.items(&value)?;
                self.meter.step(items.len())?;
                let mut out = Writer::new(&self.meter)?;
                for n in 0..items.len() {
                    if n > 0 {
                        out.push_text(&separator)?;
                    }
                    let item = items.at(&self.meter, n)?;
                    match &attribute {
                        None => self.print(&mut out, &item)?,
                        Some(attribute) => self.print(&mut out, &self.attribute_path(&item, attribute)?)?,
                    }
                }
                Ok(Value::Text(out.finish()))
            }
            "list" => {
                args.none(name)?;
                Ok(Value::List(self.items(&value)?))
            }
            "map" => self.mapped(&value, args),
            "max" | "min" => {
                let [case_sensitive, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
                let keyed = self.keyed(&value, attribute.as_ref(), case_sensitive.as_ref())?;
                let mut best: Option<(Value<'a>, Value<'a>)> = None;
                for (key, item) in keyed {
                    let is_better = match &best {
                        None => true,
                        Some((other, _)) => {
                            let order = self.order(&key, other)?;
                            order == if name == "max" { Ordering::Greater } else { Ordering::Less }
                        }
                    };
                    if is_better {
                        best = Some((key, item));
                    }
                }
                Ok(best.map_or(Value::Undefined(Missing::Item("list")), |(_, item)| item))
            }
            "select" | "reject" | "selectattr" | "rejectattr" => self.selected(name, &value, args),
            "replace" => {
                let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
                let old = self.to_text(&needed(name, "old", old)?)?;
                let new = self.to_text(&needed(name, "new", new)?)?;
                let count = match count {
                    None | Some(Value::None) => usize::MAX,
                    Some(count) => usize::try_from(whole(name, &count)?).unwrap_or(usize::MAX),
                };
                let text = self.to_text(&value)?;
                Ok(Value::Text(self.replaced(&text, &old, &new, count)?))
            }
            "reverse" => {
                args.none(name)?;
                if let Value::Text(_) = &value {
                    return self.slice(&value, [Value::None, Value::None, Value::Int(-1)]);
                }
                let mut items = self.items(&value)?.to_vec(&self.meter)?;
                items.reverse();
                match &value {
                    // What is gone through once cannot be gone through from its end.
                    Value::Iterator(_) => Ok(Value::List(List::new(&self.meter, items)?)),
                    _ => Value::iterator(&self.meter, items),
                }
            }
            "round" => round(&value, args),
            "safe" => {
                args.none(name)?;
                Ok(Value::Text(self.to_text(&value)?))
            }
            "sort" => {
                let [reverse, case_sensitive, attribute] =
                    args.bind(name, ["reverse", "case_sensitive", "attribute"])?;
                let keyed = self.keyed_by_lists(&value, attribute.as_ref(), case_sensitive.as_ref())?;
                self.sorted(keyed, reverse.is_some_and(|flag| flag.is_true()))
            }
            "string" => {
                args.none(name)?;
                Ok(Value::Text(self.to_text(&value)?))
            }
            "sum" => {
                let [attribute, start] = args.bind(name, ["attribute", "start"])?;
                let mut sum = start.unwrap_or(Value::Int(0));
                let items = self.items(&value)?;
                self.meter.step(items.len())?;
                for n in 0..items.len() {
                    let mut item = items.at(&self.meter, n)?;
                    if let Some(attribute) = attribute.as_ref().filter(|it| !matches!(it, Value::None)) {
                        item = self.attribute_path(&item, attribute)?;
                    }
                    sum = self.arithmetic(crate::ast::Arithmetic::Add, &sum, &item)?;
                }
                Ok(sum)
            }
            "tojson" => self.to_json(&value, args),
            "trim" => {
                let [chars] = args.bind(name, ["chars"])?;
                let text = self.to_text(&value)?;
                Ok(Value::Text(self.stripped(&text, chars.as_ref(), true, true)?))
            }
            "truncate" => self.truncated(&value, args),
            "unique" => {
                let [case_sensitive, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
                let keyed = self.keyed(&value, attribute.as_ref(), case_sensitive.as_ref())?;
                let mut seen: Vec<(Value<'a>, Value<'a>)> = Vec::new();
                for (key, item) in keyed {
                    self.check_key(&key)?;
                    let mut is_known = false;
                    for (other, _) in &seen {
                        is_known |= self.is_equal(other, &key)?;
                    }
                    if !is_known {
                        seen.push((key, item));
                    }
                }
                Value::iterator(&self.meter, seen.into_iter().map(|(_, item)| item).collect())
            }
            "urlencode" => {
                args.none(name)?;
                let text = self.to_text(&value)?;
                let mut out = Writer::new(&self.meter)?;
                for (c, mark) in text.chars() {
                    if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '/') {
                        out.push_char(c, mark)?;
                    } else {
                        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                            out.push(&format!("%{byte:02X}"), mark)?;
                        }
                    }
                }
                Ok(Value::Text(out.finish()))
            }
            "wordcount" => {
                args.none(name)?;
                let text = self.to_text(&value)?;
                let is_part = |c: char| c == '_' || c.is_alphanumeric();
                let words = text.as_str().split(|c| !is_part(c)).filter(|word| !word.is_empty());
                Ok(Value::Int(words.count() as i128))
            }
            _ => Err(Error::failed(format!("there is no filter `{name}`"))),
        }
    }

    pub(crate) fn length(&self, value: &Value<'a>) -> Result<usize, Error> {
        match value {
            Value::Text(text) => Ok(text.as_str().chars().count()),
            Value::List(list) | Value::Tuple(list) => Ok(list.len()),
            Value::Dict(dict) => Ok(dict.entries().len()),
            Value::Undefined(_) => Ok(0),
            Value::Loop(state) => Ok(state.items.len()),
            other => Err(Error::failed(format!("a {} has no length", other.kind()))),
        }
    }

    /// `a.b.0` of a value, as filters take attributes: items, or whole numbers.
    fn attribute_path(&self, of: &Value<'a>, path: &Value<'a>) -> Result<Value<'a>, Error> {
        let path = match path {
            Value::Int(_) => return self.item(of, path),
            path => texts("attribute", path)?,
        };
        let mut value = of.clone();
        for part in path.as_str().split('.') {
            let key = match part.parse::<i128>() {
                Ok(n) if part.bytes().all(|byte| byte.is_ascii_digit()) => Value::Int(n),
                _ => Value::Text(path.part(&self.meter, part)?),
            };
            value = self.item(&value, &key)?;
        }
        Ok(value)
    }

    /// A key to compare by: texts in small letters, unless `is_exact`.
    fn fold(&self, key: Value<'a>, is_exact: bool) -> Result<Value<'a>, Error> {
        match key {
            Value::Text(text) if !is_exact => Ok(Value::Text(self.with_case(&text, "lower")?)),
            key => Ok(key),
        }
    }

    /// Items with what they are compared by: themselves or an attribute.
    fn keyed(
        &self,
        value: &Value<'a>,
        attribute: Option<&Value<'a>>,
        case_sensitive: Option<&Value<'a>>,
    ) -> Result<Vec<(Value<'a>, Value<'a>)>, Error> {
        let is_exact = case_sensitive.is_some_and(Value::is_true);
        let items = self.items(value)?.to_vec(&self.meter)?;
        drop(Charge::new(&self.meter, 2 * items.len() * size_of::<Value>())?);
        let attribute = attribute.filter(|attribute| !matches!(attribute, Value::None));
        let key = |item: &Value<'a>| match attribute {
            None => self.fold(item.clone(), is_exact),
            Some(path) => self.fold(self.attribute_path(item, path)?, is_exact),
        };
        items.into_iter().map(|item| Ok((key(&item)?, item))).collect()
    }

    /// The same for `sort`, which takes several attributes with commas between them. Its keys are lists, of
    /// which equal parts need no order.
    fn keyed_by_lists(
        &self,
        value: &Value<'a>,
        attributes: Option<&Value<'a>>,
        case_sensitive: Option<&Value<'a>>,
    ) -> Result<Vec<(Value<'a>, Value<'a>)>, Error> {
        let is_exact = case_sensitive.is_some_and(Value::is_true);
        let key = |item: &Value<'a>| -> Result<Value<'a>, Error> {
            let parts = match attributes {
                None | Some(Value::None) => vec![self.fold(item.clone(), is_exact)?],
                Some(Value::Text(paths)) => {
                    let parts = paths.as_str().split(',').map(|path| {
                        let path = Value::Text(paths.part(&self.meter, path)?);
                        self.fold(self.attribute_path(item, &path)?, is_exact)
                    });
                    parts.collect::<Result<_, Error>>()?
                }
                Some(path) => vec![self.fold(self.attribute_path(item, path)?, is_exact)?],
            };
            Ok(Value::List(List::new(&self.meter, parts)?))
        };
        let items = self.items(value)?.to_vec(&self.meter)?;
        items.into_iter().map(|item| Ok((key(&item)?, item))).collect()
    }

    fn sorted(&self, mut keyed: Vec<(Value<'a>, Value<'a>)>, reverse: bool) -> Result<Value<'a>, Error> {
        let mut failure = None;
        keyed.sort_by(|(a, _), (b, _)| {
            if failure.is_some() {
                return Ordering::Equal;
            }
            // Equal items keep their order, in reverse as well.
            let order = if reverse { self.order(b, a) } else { self.order(a, b) };
            order.unwrap_or_else(|error| {
                failure = Some(error);
                Ordering::Equal
            })
        });
        match failure {
            Some(error) => Err(error),
            None => {
                Ok(Value::List(List::new(&self.meter, keyed.into_iter().map(|(_, item)| item).collect())?))
            }
        }
    }

    fn grouped(&self, value: &Value<'a>, args: Args<'a>) -> Result<Value<'a>, Error> {
        let [attribute, default, case_sensitive] =
            args.bind("groupby", ["attribute", "default", "case_sensitive"])?;
        let attribute = needed("groupby", "attribute", attribute)?;
        let is_exact = case_sensitive.is_some_and(|flag| flag.is_true());
        let mut keyed = Vec::new();
        for item in self.items(value)?.to_vec(&self.meter)? {
            let key = match (self.attribute_path(&item, &attribute)?, &default) {
                (Value::Undefined(_), Some(default)) => default.clone(),
                (key, _) => key,
            };
            let pair = List::new(&self.meter, vec![key.clone(), item])?;
            keyed.push((self.fold(key, is_exact)?, Value::Tuple(pair)));
        }
        let Value::List(sorted) = self.sorted(keyed, false)? else { return Ok(Value::None) };
        let mut groups: Vec<(Value<'a>, Value<'a>, Vec<Value<'a>>)> = Vec::new();
        for pair in sorted.to_vec(&self.meter)? {
            let Value::Tuple(pair) = pair else { continue };
            let (key, item) = (pair.at(&self.meter, 0)?, pair.at(&self.meter, 1)?);
            let folded = self.fold(key.clone(), is_exact)?;
            match groups.last_mut() {
                Some((last, _, items)) if self.is_equal(last, &folded)? => items.push(item),
                _ => groups.push((folded, key, vec![item])),
            }
        }
        let groups = groups.into_iter().map(|(_, key, items)| {
            let items = Value::List(List::new(&self.meter, items)?);
            Ok(Value::Tuple(List::named(&self.meter, &["grouper", "list"], vec![key, items])?))
        });
        Ok(Value::List(List::new(&self.meter, groups.collect::<Result<_, Error>>()?)?))
    }

    /// `batch(n)`: lists of `n`; `slice(n)`: `n` lists.
    fn tiled(&self, name: &str, value: &Value<'a>, args: Args<'a>) -> Result<Value<'a>, Error> {
        let [n, fill] = args.bind(name, ["count", "fill_with"])?;
        let n = usize::try_from(whole(name, &needed(name, "count", n)?)?).ok().filter(|n| *n > 0);
        let n = n.ok_or_else(|| Error::failed(format!("`{name}` needs a count above 0")))?;
        let fill = fill.filter(|fill| !matches!(fill, Value::None));
        let items = self.items(value)?.to_vec(&self.meter)?;
        let mut tiles: Vec<Vec<Value<'a>>> = Vec::new();
        if name == "batch" {
            tiles.extend(items.chunks(n).map(<[Value]>::to_vec));
            if let (Some(last), Some(fill)) = (tiles.last_mut(), &fill)
                && last.len() < n
            {
                drop(Charge::new(&self.meter, n.saturating_mul(size_of::<Value>()))?);
                last.resize(n, fill.clone());
            }
        } else {
            drop(Charge::new(&self.meter, n.saturating_mul(128))?);
            self.meter.step(n)?;
            let (each, longer, mut begin) = (items.len() / n, items.len() % n, 0);
            for k in 0..n {
                let end = begin + each + usize::from(k < longer);
                let mut tile = items[begin..end].to_vec();
                if let Some(fill) = fill.as_ref().filter(|_| k >= longer) {
                    tile.push(fill.clone());
                }
                tiles.push(tile);
                begin = end;
            }
        }
        let tiles = tiles.into_iter().map(|tile| Ok(Value::List(List::new(&self.meter, tile)?)));
        Value::iterator(&self.meter, tiles.collect::<Result<_, Error>>()?)
    }

    /// Each word begins with a capital letter; words end at blanks, hyphens and opening brackets.
    fn titled(&self, text: &Text<'a>) -> Result<Text<'a>, Error> {
        let mut out = Writer::new(&self.meter)?;
        let mut begins = true;
        for (c, mark) in text.chars() {
            if begins {
                c.to_uppercase().try_for_each(|c| out.push_char(c, mark))?;
            } else {
                c.to_lowercase().try_for_each(|c| out.push_char(c, mark))?;
            }
            begins = is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
        }
        Ok(out.finish())
    }

    fn indented(&self, value: &Value<'a>, args: Args<'a>) -> Result<Value<'a>, Error> {
        let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
        let unit = match width {
            None => (Text::Borrowed("    ", Mark::TEMPLATE), 1),
            Some(Value::Text(text)) => (text, 1),
            Some(width) => {
                let n = usize::try_from(whole("indent", &width)?.max(0)).unwrap_or(usize::MAX);
                (Text::Borrowed(" ", Mark::TEMPLATE), n)
            }
        };
        let with_first = first.is_some_and(|flag| flag.is_true());
        let with_blank = blank.is_some_and(|flag| flag.is_true());
        let text = texts("indent", value)?;
        let string = text.as_str();
        let mut out = Writer::new(&self.meter)?;
        let mut rest = string;
        let mut n = 0;
        // Every line end becomes a line feed; behind the last one there is one more line.
        loop {
            self.meter.step(1)?;
            let (line, after) = match first_line(rest) {
                Some((end, after)) => (&rest[..end], Some(after)),
                None => (rest, None),
            };
            let is_indented = if n == 0 { with_first } else { with_blank || !line.is_empty() };
            if is_indented {
                out.push_repeated(&unit.0, unit.1)?;
            }
            let begin = string.len() - rest.len();
            out.push_part(&text, begin..begin + line.len())?;
            let Some(after) = after else { break };
            // The line feed was written by whoever wrote the line's end.
            let line_end = begin + line.len()..string.len() - after.len();
            let mark = text.runs(line_end).fold(Mark::TEMPLATE, |mark, (_, other)| mark.with(other));
            out.push("\n", mark)?;
            rest = after;
            n += 1;
        }
        Ok(Value::Text(out.finish()))
    }

    /// Items, of which nothing, zero and `none` have none.
    fn items_if_any(&self, value: &Value<'a>) -> Result<std::rc::Rc<List<'a>>, Error> {
        match value {
            Value::None | Value::Bool(false) => List::new(&self.meter, Vec::new()),
            Value::Int(_) | Value::Float(_) if !value.is_true() => List::new(&self.meter, Vec::new()),
            value => self.items(value),
        }
    }

    fn mapped(&self, value: &Value<'a>, mut args: Args<'a>) -> Result<Value<'a>, Error> {
        let items = self.items_if_any(value)?;
        let mut out = Vec::new();
        let mut room = Charge::new(&self.meter, 0)?;
        let is_attribute = args.named.first().is_some_and(|(name, _)| name.as_str() == "attribute");
        if args.positional.is_empty() && is_attribute {
            let [attribute, default] = args.bind("map", ["attribute", "default"])?;
            let attribute = needed("map", "attribute", attribute)?;
            for n in 0..items.len() {
                room.grow(size_of::<Value>())?;
                let value = self.attribute_path(&items.at(&self.meter, n)?, &attribute)?;
                out.push(match (value, &default) {
                    (Value::Undefined(_), Some(default)) => default.clone(),
                    (value, _) => value,
                });
            }
        } else {
            if args.positional.is_empty() {
                return Err(Error::failed("`map` needs a filter or an attribute"));
            }
            let filter = texts("map", &args.positional.remove(0))?;
            for n in 0..items.len() {
                room.grow(size_of::<Value>())?;
                let args = Args { positional: args.positional.clone(), named: args.named.clone() };
                let item = items.at(&self.meter, n)?;
                self.meter.step(1)?;
                out.push(self.nested(|| self.filter(filter.as_str(), item, args))?);
            }
        }
        drop(room);
        Value::iterator(&self.meter, out)
    }

    fn selected(&self, name: &str, value: &Value<'a>, mut args: Args<'a>) -> Result<Value<'a>, Error> {
        let by_attribute = name.ends_with("attr");
        let attribute = match by_attribute {
            true if args.positional.is_empty() => {
                return Err(Error::failed(format!("`{name}` needs an attribute")));
            }
            true => Some(args.positional.remove(0)),
            false => None,
        };
        let test = match args.positional.is_empty() {
            true => None,
            false => Some(texts(name, &args.positional.remove(0))?),
        };
        let wanted = name.starts_with("select");
        let items = self.items_if_any(value)?;
        let mut out = Vec::new();
        let mut room = Charge::new(&self.meter, 0)?;
        for n in 0..items.len() {
            self.meter.step(1)?;
            let item = items.at(&self.meter, n)?;
            let subject = match &attribute {
                Some(attribute) => self.attribute_path(&item, attribute)?,
                None => item.clone(),
            };
            let holds = match &test {
                None => subject.is_true(),
                Some(test) => {
                    let args = Args { positional: args.positional.clone(), named: args.named.clone() };
                    self.nested(|| self.test(test.as_str(), &subject, args))?
                }
            };
            if holds == wanted {
                room.grow(size_of::<Value>())?;
                out.push(item);
            }
        }
        drop(room);
        Value::iterator(&self.meter, out)
    }

    fn to_json(&self, value: &Value<'a>, args: Args<'a>) -> Result<Value<'a>, Error> {
        let [ascii, indent, separators, sort_keys] =
            args.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
        let mut style: JsonStyle<'a> = JsonStyle::new();
        style.is_ascii = ascii.is_some_and(|flag| flag.is_true());
        style.sorts_keys = sort_keys.is_some_and(|flag| flag.is_true());
        style.indent = match indent {
            None | Some(Value::None) => None,
            Some(Value::Text(text)) => Some(text),
            Some(n) => {
                let n = usize::try_from(whole("tojson", &n)?.max(0)).unwrap_or(usize::MAX);
                let mut blanks = Writer::new(&self.meter)?;
                blanks.push_repeated(&Text::Borrowed(" ", Mark::TEMPLATE), n)?;
                Some(blanks.finish())
            }
        };
        if style.indent.is_some() {
            style.item_separator = Text::Borrowed(",", Mark::TEMPLATE);
        }
        if let Some(separators) = separators.filter(|value| !matches!(value, Value::None)) {
            let parts = self.items(&separators)?.to_vec(&self.meter)?;
            let [item, key] = parts.as_slice() else {
                return Err(Error::failed("`separators` of `tojson` are two strings"));
            };
            style.item_separator = texts("tojson", item)?;
            style.key_separator = texts("tojson", key)?;
        }
        let mut out = Writer::new(&self.meter)?;
        self.print_json(&mut out, value, &style, 0)?;
        Ok(Value::Text(out.finish()))
    }

    fn truncated(&self, value: &Value<'a>, args: Args<'a>) -> Result<Value<'a>, Error> {
        let [length, kill_words, end, leeway] =
            args.bind("truncate", ["length", "killwords", "end", "leeway"])?;
        let length = length.map_or(Ok(255), |length| whole("truncate", &length))?;
        let leeway = leeway.map_or(Ok(5), |leeway| whole("truncate", &leeway))?;
        let end = end.map_or(Ok(Text::Borrowed("...", Mark::TEMPLATE)), |end| texts("truncate", &end))?;
        let text = self.to_text(value)?;
        let string = text.as_str();
        let n_end = end.as_str().chars().count() as i128;
        if length < n_end || leeway < 0 {
            return Err(Error::failed("`truncate` needs room for its end and a leeway of 0 or more"));
        }
        if string.chars().count() as i128 <= length.saturating_add(leeway) {
            return Ok(Value::Text(text));
        }
        let n = usize::try_from(length - n_end).unwrap_or(0);
        let mut cut = string.char_indices().nth(n).map_or(string.len(), |(at, _)| at);
        if !kill_words.is_some_and(|flag| flag.is_true()) {
            cut = string[..cut].rfind(' ').unwrap_or(cut);
        }
        let mut out = Writer::new(&self.meter)?;
        out.push_part(&text, 0..cut)?;
        out.push_text(&end)?;
        Ok(Value::Text(out.finish()))
    }
}

fn round<'a>(value: &Value<'a>, args: Args<'a>) -> Result<Value<'a>, Error> {
    let [precision, method] = args.bind("round", ["precision", "method"])?;
    let precision = precision.map_or(Ok(0), |precision| whole("round", &precision))?.clamp(-400, 400) as i32;
    let method = method.map(|method| texts("round", &method)).transpose()?;
    let method = method.as_ref().map_or("common", Text::as_str);
    let Some(number) = value.as_float() else {
        return Err(Error::failed(format!("`round` does not take a {}", value.kind())));
    };
    if let (Some(whole), "common") = (value.as_int(), method) {
        return rounded_int(whole, precision);
    }
    let power = 10f64.powi(precision);
    let rounded = match method {
        // Python's are whole numbers in between, which know no negative zero.
        "ceil" => ((number * power).ceil() + 0.0) / power,
        "floor" => ((number * power).floor() + 0.0) / power,
        // The decimal digits decide, halves go to the even one, as in Python.
        "common" if precision >= 0 => {
            format!("{number:.digits$}", digits = precision as usize).parse().unwrap_or(number)
        }
        "common" => (number * power).round_ties_even() / power,
        other => return Err(Error::failed(format!("`round` knows no method `{other}`"))),
    };
    Ok(Value::Float(rounded))
}

/// Python's `round(number, precision)`, which keeps whole numbers whole: halves go to the even neighbour.
fn rounded_int<'a>(number: i128, precision: i32) -> Result<Value<'a>, Error> {
    if precision >= 0 {
        return Ok(Value::Int(number));
    }
    // Beyond a number's digits there is only 0.
    let Some(unit) = 10i128.checked_pow(precision.unsigned_abs()) else { return Ok(Value::Int(0)) };
    let (below, rest) = (number.div_euclid(unit), number.rem_euclid(unit));
    let is_up = match rest.cmp(&(unit - rest)) {
        Ordering::Less => false,
        Ordering::Greater => true,
        Ordering::Equal => below % 2 != 0,
    };
    let rounded = (below + i128::from(is_up)).checked_mul(unit);
    rounded.map(Value::Int).ok_or_else(too_large)
}

/// Python's `float(text)`.
fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let word = text.trim_start_matches(['+', '-']);
    let is_word = ["inf", "infinity", "nan"].iter().any(|known| word.eq_ignore_ascii_case(known));
    (is_plain || is_word).then(|| text.parse().ok()).flatten()
}

/// Digits of a whole number that Python reads.
const MAX_DIGITS: usize = 4300;

/// Python's `int(text, base)`; `None` for what is no number.
fn parse_int(text: &str, base: i128) -> Result<Option<i128>, Error> {
    let text = text.trim_matches(is_space);
    if text.len() > MAX_DIGITS {
        return Ok(None);
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefix = match base {
        2 => "0b",
        8 => "0o",
        16 => "0x",
        _ => "",
    };
    let lower = digits.to_ascii_lowercase();
    let digits = lower.strip_prefix(prefix).unwrap_or(&lower);
    let is_spaced = digits.starts_with('_') || digits.ends_with('_') || digits.contains("__");
    let Some(base) = u32::try_from(base).ok().filter(|base| (2..=36).contains(base)) else {
        return Ok(None);
    };
    if is_spaced || digits.starts_with(['+', '-']) {
        return Ok(None);
    }
    match i128::from_str_radix(&digits.replace('_', ""), base) {
        Ok(number) => Ok(Some(sign * number)),
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => Err(too_large()),
        Err(_) => Ok(None),
    }
}
