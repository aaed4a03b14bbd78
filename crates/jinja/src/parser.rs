//! Tokens to statements and expressions: Jinja2's grammar, its precedences included.

use std::collections::HashMap;

use crate::ast::{
    Arguments, Arithmetic, Comparison, Expr, For, Macro, Postfix, Stmt, StmtKind, Surplus, Symbol, Target,
};
use crate::error::Error;
use crate::lexer::{Token, tokens};
use crate::limits::MAX_NESTING;

/// What a template's text says.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub body: Vec<Stmt>,
    /// What symbols stand for.
    pub names: Vec<Box<str>>,
}

pub(crate) fn parse(source: &str) -> Result<Parsed, Error> {
    let mut parser = Parser {
        tokens: tokens(source)?.into_iter().peekable(),
        line: 1,
        names: Vec::new(),
        symbols: HashMap::new(),
        depth: 0,
        surplus_named: [false; 3],
    };
    let (body, _) = parser.body(&[])?;
    Ok(Parsed { body, names: parser.names })
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<(Token, u32)>>,
    /// Of the last token that was taken.
    line: u32,
    names: Vec<Box<str>>,
    symbols: HashMap<Box<str>, Symbol>,
    /// Levels of blocks and brackets around what is parsed.
    depth: usize,
    /// Which of [`SURPLUS`] the macro that is parsed names.
    surplus_named: [bool; 3],
}

/// What a macro has beside its parameters, where it names them.
const SURPLUS: [&str; 3] = ["caller", "kwargs", "varargs"];

/// Operators of arithmetic, loosest first. `~` stands between the first and the second.
const SUM: [(&str, Arithmetic); 2] = [("+", Arithmetic::Add), ("-", Arithmetic::Subtract)];
const PRODUCT: [(&str, Arithmetic); 4] = [
    ("*", Arithmetic::Multiply),
    ("/", Arithmetic::Divide),
    ("//", Arithmetic::FloorDivide),
    ("%", Arithmetic::Modulo),
];
const POWER: [(&str, Arithmetic); 1] = [("**", Arithmetic::Power)];

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    ("<=", Comparison::LessOrEqual),
    (">", Comparison::Greater),
    (">=", Comparison::GreaterOrEqual),
];

impl Parser {
    // Tokens.

    fn peek(&mut self) -> Option<&Token> {
        self.tokens.peek().map(|(token, _)| token)
    }

    fn next(&mut self) -> Option<Token> {
        let (token, line) = self.tokens.next()?;
        self.line = line;
        Some(token)
    }

    fn error<T>(&mut self, what: impl Into<String>) -> Result<T, Error> {
        let line = self.tokens.peek().map_or(self.line, |(_, line)| *line);
        Err(Error::Syntax { line, what: what.into() })
    }

    fn unexpected<T>(&mut self, expected: &str) -> Result<T, Error> {
        let found = match self.peek() {
            None => "the template's end".to_owned(),
            Some(Token::Data(_)) => "text".to_owned(),
            Some(Token::VariableBegin) => "`{{`".to_owned(),
            Some(Token::VariableEnd) => "`}}`".to_owned(),
            Some(Token::BlockBegin) => "`{%`".to_owned(),
            Some(Token::BlockEnd) => "`%}`".to_owned(),
            Some(Token::Name(name)) => format!("`{name}`"),
            Some(Token::Str(_)) => "a string".to_owned(),
            Some(Token::Int(_) | Token::Float(_)) => "a number".to_owned(),
            Some(Token::Operator(operator)) => format!("`{operator}`"),
        };
        self.error(format!("expected {expected}, found {found}"))
    }

    fn is_operator(&mut self, operator: &str) -> bool {
        matches!(self.peek(), Some(Token::Operator(found)) if *found == operator)
    }

    fn skip_operator(&mut self, operator: &str) -> bool {
        let is_next = self.is_operator(operator);
        if is_next {
            self.next();
        }
        is_next
    }

    fn expect_operator(&mut self, operator: &str) -> Result<(), Error> {
        if self.skip_operator(operator) { Ok(()) } else { self.unexpected(&format!("`{operator}`")) }
    }

    fn is_name(&mut self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(found)) if found == name)
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let is_next = self.is_name(name);
        if is_next {
            self.next();
        }
        is_next
    }

    fn name(&mut self) -> Result<String, Error> {
        if !matches!(self.peek(), Some(Token::Name(_))) {
            return self.unexpected("a name");
        }
        match self.next() {
            Some(Token::Name(name)) => Ok(name),
            _ => Ok(String::new()),
        }
    }

    fn symbol(&mut self, name: &str) -> Symbol {
        if let Some(symbol) = self.symbols.get(name) {
            return *symbol;
        }
        let symbol = self.names.len() as Symbol;
        self.names.push(name.into());
        self.symbols.insert(name.into(), symbol);
        symbol
    }

    fn named(&mut self) -> Result<Symbol, Error> {
        let name = self.name()?;
        Ok(self.symbol(&name))
    }

    /// `a.b` as one name, of filters and tests.
    fn dotted(&mut self) -> Result<Symbol, Error> {
        let mut name = self.name()?;
        while self.skip_operator(".") {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(self.symbol(&name))
    }

    /// `parse` one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Parser) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth == MAX_NESTING {
            return Err(Error::Limit(format!("its text nests more than {MAX_NESTING} levels deep")));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    // Statements.

    /// Statements up to a block that begins with one of `ends`, which is taken up to its name; or to the end
    /// of the template where there are none.
    fn body(&mut self, ends: &[&str]) -> Result<(Vec<Stmt>, String), Error> {
        self.nested(|parser| {
            let mut body = Vec::new();
            while let Some(token) = parser.next() {
                let line = parser.line;
                match token {
                    Token::Data(text) => body.push(Stmt { line, kind: StmtKind::Text(text.into()) }),
                    Token::VariableBegin => {
                        let value = parser.tuple(true)?;
                        if parser.peek() != Some(&Token::VariableEnd) {
                            return parser.unexpected("`}}`");
                        }
                        parser.next();
                        body.push(Stmt { line, kind: StmtKind::Print(value) });
                    }
                    Token::BlockBegin => {
                        let keyword = parser.name()?;
                        if ends.contains(&keyword.as_str()) {
                            return Ok((body, keyword));
                        }
                        let kind = parser.statement(&keyword, ends)?;
                        body.push(Stmt { line, kind });
                    }
                    _ => return parser.unexpected("text or a block"),
                }
            }
            match ends.last() {
                None => Ok((body, String::new())),
                Some(end) => parser.unexpected(&format!("`{end}`")),
            }
        })
    }

    fn block_end(&mut self) -> Result<(), Error> {
        if self.peek() != Some(&Token::BlockEnd) {
            return self.unexpected("`%}`");
        }
        self.next();
        Ok(())
    }

    /// The body of a block up to its only end.
    fn block(&mut self, end: &str) -> Result<Vec<Stmt>, Error> {
        self.block_end()?;
        let (body, _) = self.body(&[end])?;
        Ok(body)
    }

    fn statement(&mut self, keyword: &str, ends: &[&str]) -> Result<StmtKind, Error> {
        let kind = match keyword {
            "if" => self.if_statement()?,
            "for" => self.for_statement()?,
            "set" => self.set_statement()?,
            "with" => self.with_statement()?,
            "macro" => {
                let name = self.named()?;
                let signature = self.signature()?;
                StmtKind::Macro(self.macro_of(name, signature, "endmacro")?)
            }
            "call" => {
                let has_signature = self.is_operator("(");
                let signature = if has_signature { self.signature()? } else { Default::default() };
                let call = self.expression()?;
                if !matches!(&call, Expr::Postfix(_, chain) if matches!(chain.last(), Some(Postfix::Call(_))))
                {
                    return self.error("`call` needs a call");
                }
                let name = self.symbol("caller");
                StmtKind::Call(self.macro_of(name, signature, "endcall")?, call)
            }
            "filter" => {
                let filters = self.filter_chain(true)?;
                StmtKind::Filter(filters, self.block("endfilter")?)
            }
            "generation" => StmtKind::Generation(self.block("endgeneration")?),
            "block" => {
                let name = self.name()?;
                for modifier in ["scoped", "required"] {
                    self.skip_name(modifier);
                }
                let body = self.block("endblock")?;
                self.skip_name(&name);
                StmtKind::Block(body)
            }
            "autoescape" => {
                if !matches!(self.expression()?, Expr::Bool(false)) {
                    return self.error("`autoescape` makes no prompts and can only be false");
                }
                StmtKind::Block(self.block("endautoescape")?)
            }
            "break" => StmtKind::Break,
            "continue" => StmtKind::Continue,
            "include" | "import" | "from" | "extends" => {
                return self.error(format!("`{keyword}` needs another template, and there is only this one"));
            }
            _ if ends.is_empty() => return self.error(format!("there is no block `{keyword}`")),
            _ => {
                let open = ends.join("`, `");
                return self
                    .error(format!("there is no block `{keyword}`; open is one that ends with `{open}`"));
            }
        };
        self.block_end()?;
        Ok(kind)
    }

    fn if_statement(&mut self) -> Result<StmtKind, Error> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple(false)?;
            self.block_end()?;
            let (body, end) = self.body(&["elif", "else", "endif"])?;
            branches.push((condition, body));
            match end.as_str() {
                "elif" => continue,
                "else" => return Ok(StmtKind::If(branches, self.block("endif")?)),
                _ => return Ok(StmtKind::If(branches, Vec::new())),
            }
        }
    }

    fn for_statement(&mut self) -> Result<StmtKind, Error> {
        let target = self.target(&["in"])?;
        if !self.skip_name("in") {
            return self.unexpected("`in`");
        }
        let iterable = self.tuple_until(false, &["recursive", "if"])?;
        let condition = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let is_recursive = self.skip_name("recursive");
        self.block_end()?;
        let (body, end) = self.body(&["else", "endfor"])?;
        let otherwise = if end == "else" { self.block("endfor")? } else { Vec::new() };
        Ok(StmtKind::For(Box::new(For { target, iterable, condition, is_recursive, body, otherwise })))
    }

    fn set_statement(&mut self) -> Result<StmtKind, Error> {
        let target = self.target(&[])?;
        if self.skip_operator("=") {
            return Ok(StmtKind::Set(target, self.tuple(true)?));
        }
        let filters = self.filter_chain(false)?;
        Ok(StmtKind::SetBlock(target, filters, self.block("endset")?))
    }

    fn with_statement(&mut self) -> Result<StmtKind, Error> {
        let mut bindings = Vec::new();
        while self.peek() != Some(&Token::BlockEnd) {
            if !bindings.is_empty() {
                self.expect_operator(",")?;
            }
            let target = self.one_target()?;
            self.expect_operator("=")?;
            bindings.push((target, self.expression()?));
        }
        Ok(StmtKind::With(bindings, self.block("endwith")?))
    }

    /// A macro from its body on.
    fn macro_of(
        &mut self,
        name: Symbol,
        (parameters, defaults): (Vec<Symbol>, Vec<Expr>),
        end: &str,
    ) -> Result<Macro, Error> {
        let before = std::mem::take(&mut self.surplus_named);
        let body = self.block(end)?;
        let named = std::mem::replace(&mut self.surplus_named, before);
        for (is_named, inside) in self.surplus_named.iter_mut().zip(named) {
            *is_named |= inside;
        }
        let [caller, kwargs, varargs] = SURPLUS.map(|name| self.symbols.get(name).copied());
        let known = |n: usize, symbol: Option<Symbol>| {
            symbol.filter(|symbol| named[n] && !parameters.contains(symbol))
        };
        let surplus =
            Surplus { caller: known(0, caller), kwargs: known(1, kwargs), varargs: known(2, varargs) };
        Ok(Macro { name, parameters, defaults, body, surplus })
    }

    fn signature(&mut self) -> Result<(Vec<Symbol>, Vec<Expr>), Error> {
        let (mut parameters, mut defaults) = (Vec::new(), Vec::new());
        self.expect_operator("(")?;
        while !self.skip_operator(")") {
            if !parameters.is_empty() {
                self.expect_operator(",")?;
                if self.skip_operator(")") {
                    break;
                }
            }
            parameters.push(self.named()?);
            if self.skip_operator("=") {
                defaults.push(self.expression()?);
            } else if !defaults.is_empty() {
                return self.error("a parameter without a default follows one with a default");
            }
        }
        Ok((parameters, defaults))
    }

    /// `a | b(c) | d`; in a `filter` block the first stands without a bar.
    fn filter_chain(&mut self, starts_inline: bool) -> Result<Vec<(Symbol, Arguments)>, Error> {
        let mut filters = Vec::new();
        while starts_inline && filters.is_empty() || self.skip_operator("|") {
            let name = self.dotted()?;
            let arguments = if self.is_operator("(") { self.arguments()? } else { Arguments::default() };
            filters.push((name, arguments));
        }
        Ok(filters)
    }

    /// What is assigned to: names, with commas a tuple of them.
    fn target(&mut self, ends: &[&str]) -> Result<Target, Error> {
        let first = self.one_target()?;
        if !self.is_operator(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.skip_operator(",") {
            let is_end = self.is_operator("=") || ends.iter().any(|end| self.is_name(end));
            if is_end {
                break;
            }
            targets.push(self.one_target()?);
        }
        Ok(Target::Tuple(targets))
    }

    fn one_target(&mut self) -> Result<Target, Error> {
        if self.skip_operator("(") {
            let target = self.nested(|parser| parser.target(&[]))?;
            self.expect_operator(")")?;
            return Ok(target);
        }
        let name = self.name()?;
        if is_reserved(&name) {
            return self.error(format!("nothing can be assigned to `{name}`"));
        }
        let name = self.symbol(&name);
        if self.skip_operator(".") {
            return Ok(Target::Attribute(name, self.named()?));
        }
        Ok(Target::Name(name))
    }

    // Expressions.

    /// One expression, or several with commas: a tuple.
    fn tuple(&mut self, with_conditional: bool) -> Result<Expr, Error> {
        self.tuple_until(with_conditional, &[])
    }

    fn tuple_until(&mut self, with_conditional: bool, ends: &[&str]) -> Result<Expr, Error> {
        // `for a in b if c`: the `if` is no part of `b`. Elsewhere without conditionals nothing is lost.
        let one = |parser: &mut Parser| {
            if with_conditional || ends.is_empty() { parser.expression() } else { parser.nested(Parser::or) }
        };
        let first = one(self)?;
        if !self.is_operator(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_operator(",") {
            let is_end = matches!(
                self.peek(),
                None | Some(Token::VariableEnd | Token::BlockEnd | Token::Operator(")"))
            ) || ends.iter().any(|end| self.is_name(end));
            if is_end {
                break;
            }
            items.push(one(self)?);
        }
        Ok(Expr::Tuple(items))
    }

    fn expression(&mut self) -> Result<Expr, Error> {
        self.nested(|parser| {
            let (mut branches, mut value) = (Vec::new(), parser.or()?);
            let mut n_without_else = 0;
            while parser.skip_name("if") {
                let condition = parser.or()?;
                if parser.skip_name("else") {
                    branches.push((value, condition));
                    value = parser.or()?;
                } else {
                    // `a if b if c`: the first is the second's value.
                    n_without_else += 1;
                    if n_without_else > 10 {
                        return parser.error("too many conditions follow each other without an `else`");
                    }
                    value = Expr::Conditional(vec![(value, condition)], None);
                }
            }
            Ok(if branches.is_empty() { value } else { Expr::Conditional(branches, Some(Box::new(value))) })
        })
    }

    /// `first`, and others behind `separator`.
    fn chain(
        &mut self,
        separator: &str,
        one: fn(&mut Parser) -> Result<Expr, Error>,
        many: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, Error> {
        let first = one(self)?;
        if !self.is_name(separator) {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_name(separator) {
            items.push(one(self)?);
        }
        Ok(many(items))
    }

    fn or(&mut self) -> Result<Expr, Error> {
        self.chain("or", Parser::and, Expr::Or)
    }

    fn and(&mut self) -> Result<Expr, Error> {
        self.chain("and", Parser::not, Expr::And)
    }

    fn not(&mut self) -> Result<Expr, Error> {
        let mut n = 0;
        while self.skip_name("not") {
            n += 1;
        }
        let value = self.compare()?;
        // Two of them ask for the truth of a value.
        Ok(match n {
            0 => value,
            n => {
                let once = Expr::Not(Box::new(value));
                if n % 2 == 1 { once } else { Expr::Not(Box::new(once)) }
            }
        })
    }

    fn compare(&mut self) -> Result<Expr, Error> {
        let first = self.sum()?;
        let mut others = Vec::new();
        loop {
            let operator = match self.peek() {
                Some(Token::Operator(operator)) => {
                    COMPARISONS.iter().find(|(text, _)| text == operator).map(|(_, comparison)| *comparison)
                }
                Some(Token::Name(name)) if name == "in" => Some(Comparison::In),
                Some(Token::Name(name)) if name == "not" => Some(Comparison::NotIn),
                _ => None,
            };
            let Some(operator) = operator else { break };
            self.next();
            if operator == Comparison::NotIn && !self.skip_name("in") {
                return self.unexpected("`in`");
            }
            others.push((operator, self.sum()?));
        }
        Ok(if others.is_empty() { first } else { Expr::Compare(Box::new(first), others) })
    }

    fn arithmetic(
        &mut self,
        operators: &[(&str, Arithmetic)],
        one: fn(&mut Parser) -> Result<Expr, Error>,
    ) -> Result<Expr, Error> {
        let first = one(self)?;
        let mut others = Vec::new();
        while let Some(Token::Operator(found)) = self.peek() {
            let Some((_, operator)) = operators.iter().find(|(text, _)| text == found) else { break };
            self.next();
            others.push((*operator, one(self)?));
        }
        Ok(if others.is_empty() { first } else { Expr::Arithmetic(Box::new(first), others) })
    }

    fn sum(&mut self) -> Result<Expr, Error> {
        self.arithmetic(&SUM, Parser::concat)
    }

    fn concat(&mut self) -> Result<Expr, Error> {
        let first = self.product()?;
        if !self.is_operator("~") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_operator("~") {
            items.push(self.product()?);
        }
        Ok(Expr::Concat(items))
    }

    fn product(&mut self) -> Result<Expr, Error> {
        self.arithmetic(&PRODUCT, Parser::power)
    }

    fn power(&mut self) -> Result<Expr, Error> {
        self.arithmetic(&POWER, |parser| parser.unary(true))
    }

    /// A value with its sign, and what follows it. Filters and tests bind to the value with its sign.
    fn unary(&mut self, with_filters: bool) -> Result<Expr, Error> {
        let sign = match self.peek() {
            Some(Token::Operator(sign @ ("-" | "+"))) => Some(*sign),
            _ => None,
        };
        let value = match sign {
            None => self.primary()?,
            Some(sign) => {
                self.next();
                let value = Box::new(self.nested(|parser| parser.unary(false))?);
                if sign == "-" { Expr::Negative(value) } else { Expr::Positive(value) }
            }
        };
        let mut chain = Vec::new();
        self.attributes_and_calls(&mut chain)?;
        if with_filters {
            self.filters_and_tests(&mut chain)?;
        }
        Ok(postfix(value, chain))
    }

    fn primary(&mut self) -> Result<Expr, Error> {
        let expected = "an expression";
        match self.peek() {
            Some(Token::Name(_)) => {
                let name = self.name()?;
                Ok(match name.as_str() {
                    "true" | "True" => Expr::Bool(true),
                    "false" | "False" => Expr::Bool(false),
                    "none" | "None" => Expr::None,
                    name => {
                        if let Some(n) = SURPLUS.iter().position(|known| *known == name) {
                            self.surplus_named[n] = true;
                        }
                        Expr::Name(self.symbol(name))
                    }
                })
            }
            Some(Token::Str(_)) => {
                let mut text = String::new();
                while let Some(Token::Str(part)) = self.peek() {
                    text.push_str(part);
                    self.next();
                }
                Ok(Expr::Str(text.into()))
            }
            Some(Token::Int(_) | Token::Float(_)) => match self.next() {
                Some(Token::Int(value)) => Ok(Expr::Int(value)),
                Some(Token::Float(value)) => Ok(Expr::Float(value)),
                _ => self.unexpected(expected),
            },
            Some(Token::Operator("(")) => {
                self.next();
                if self.skip_operator(")") {
                    return Ok(Expr::Tuple(Vec::new()));
                }
                let value = self.nested(|parser| parser.tuple(true))?;
                self.expect_operator(")")?;
                Ok(value)
            }
            Some(Token::Operator("[")) => {
                self.next();
                Ok(Expr::List(self.items("]", Parser::expression)?))
            }
            Some(Token::Operator("{")) => {
                self.next();
                let entry = |parser: &mut Parser| {
                    let key = parser.expression()?;
                    parser.expect_operator(":")?;
                    Ok((key, parser.expression()?))
                };
                Ok(Expr::Dict(self.items("}", entry)?))
            }
            _ => self.unexpected(expected),
        }
    }

    /// Things with commas between them, up to `end`.
    fn items<T>(
        &mut self,
        end: &str,
        one: impl Fn(&mut Parser) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        while !self.skip_operator(end) {
            if !items.is_empty() {
                self.expect_operator(",")?;
                if self.skip_operator(end) {
                    break;
                }
            }
            items.push(one(self)?);
        }
        Ok(items)
    }

    fn attributes_and_calls(&mut self, chain: &mut Vec<Postfix>) -> Result<(), Error> {
        loop {
            if self.skip_operator(".") {
                if let Some(Token::Int(_)) = self.peek() {
                    let index = self.primary()?;
                    chain.push(Postfix::Item(index));
                } else {
                    let name = self.named()?;
                    chain.push(Postfix::Attribute(name));
                }
            } else if self.skip_operator("[") {
                chain.push(self.subscript()?);
            } else if self.is_operator("(") {
                chain.push(Postfix::Call(self.arguments()?));
            } else {
                return Ok(());
            }
        }
    }

    fn subscript(&mut self) -> Result<Postfix, Error> {
        let mut parts: [Option<Expr>; 3] = [None, None, None];
        let mut n_colons = 0;
        loop {
            if self.skip_operator(":") {
                n_colons += 1;
                if n_colons > 2 {
                    return self.error("a slice has at most three parts");
                }
            } else if self.skip_operator("]") {
                break;
            } else if parts[n_colons].is_none() {
                parts[n_colons] = Some(self.expression()?);
                if n_colons == 0 && self.is_operator(",") {
                    let mut items: Vec<Expr> = parts[0].take().into_iter().collect();
                    self.next();
                    items.extend(self.items("]", Parser::expression)?);
                    return Ok(Postfix::Item(Expr::Tuple(items)));
                }
            } else {
                return self.unexpected("`]`");
            }
        }
        match parts {
            parts if n_colons > 0 => Ok(Postfix::Slice(Box::new(parts))),
            [Some(index), ..] => Ok(Postfix::Item(index)),
            _ => self.error("`[]` needs an index"),
        }
    }

    fn filters_and_tests(&mut self, chain: &mut Vec<Postfix>) -> Result<(), Error> {
        loop {
            if self.skip_operator("|") {
                let name = self.dotted()?;
                let arguments = if self.is_operator("(") { self.arguments()? } else { Arguments::default() };
                chain.push(Postfix::Filter(name, arguments));
            } else if self.skip_name("is") {
                let is_negated = self.skip_name("not");
                let name = self.dotted()?;
                let takes_value = match self.peek() {
                    Some(Token::Name(name)) if name == "is" => {
                        return self.error("tests cannot follow each other without brackets");
                    }
                    // Any other name is the test's argument, as in Jinja2: `a is odd if b` fails.
                    Some(Token::Name(name)) => !matches!(name.as_str(), "else" | "or" | "and"),
                    Some(Token::Str(_) | Token::Int(_) | Token::Float(_)) => true,
                    Some(Token::Operator(operator)) => matches!(*operator, "[" | "{"),
                    _ => false,
                };
                let arguments = if self.is_operator("(") {
                    self.arguments()?
                } else if takes_value {
                    let value = self.primary()?;
                    let mut of_value = Vec::new();
                    self.attributes_and_calls(&mut of_value)?;
                    Arguments { positional: vec![postfix(value, of_value)], ..Arguments::default() }
                } else {
                    Arguments::default()
                };
                chain.push(Postfix::Test { name, arguments, is_negated });
            } else if self.is_operator("(") {
                chain.push(Postfix::Call(self.arguments()?));
            } else {
                return Ok(());
            }
        }
    }

    /// `(a, b=c, *d, **e)`
    fn arguments(&mut self) -> Result<Arguments, Error> {
        let mut arguments = Arguments::default();
        self.expect_operator("(")?;
        let mut is_first = true;
        while !self.skip_operator(")") {
            if !is_first {
                self.expect_operator(",")?;
                if self.skip_operator(")") {
                    break;
                }
            }
            is_first = false;
            if self.skip_operator("**") {
                if arguments.dict.is_some() {
                    return self.error("`**` stands twice in a call");
                }
                arguments.dict = Some(Box::new(self.expression()?));
                continue;
            }
            if self.skip_operator("*") {
                if arguments.list.is_some() || arguments.dict.is_some() {
                    return self.error("`*` stands twice, or after `**`, in a call");
                }
                arguments.list = Some(Box::new(self.expression()?));
                continue;
            }
            let value = self.expression()?;
            match value {
                Expr::Name(name) if self.is_operator("=") => {
                    self.next();
                    if arguments.dict.is_some() {
                        return self.error("an argument follows `**`");
                    }
                    let value = self.expression()?;
                    arguments.named.push((name, value));
                }
                value => {
                    if !arguments.named.is_empty() || arguments.list.is_some() || arguments.dict.is_some() {
                        return self.error("a positional argument follows a named one");
                    }
                    arguments.positional.push(value);
                }
            }
        }
        Ok(arguments)
    }
}

fn postfix(value: Expr, chain: Vec<Postfix>) -> Expr {
    if chain.is_empty() { value } else { Expr::Postfix(Box::new(value), chain) }
}

/// Names that are values.
fn is_reserved(name: &str) -> bool {
    matches!(name, "true" | "false" | "none" | "True" | "False" | "None")
}
