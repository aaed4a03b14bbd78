//! Tokens to statements: Jinja2's grammar. Expressions have a file of their own.

mod expressions;

use std::collections::HashMap;

use crate::ast::{Arguments, Expr, For, Macro, Postfix, Stmt, StmtKind, Surplus, Symbol, Target};
use crate::error::Error;
use crate::lexer::{Token, tokens};
use crate::limits::MAX_NESTING;
use crate::scoping::hide_names;

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
    let (mut body, _) = parser.body(&[])?;
    hide_names(&mut body);
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
}

/// Names that are values.
fn is_reserved(name: &str) -> bool {
    matches!(name, "true" | "false" | "none" | "True" | "False" | "None")
}
