//! Expressions: operators by their precedence, and what follows a value.

use super::{Parser, SURPLUS};
use crate::ast::{Arguments, Arithmetic, Comparison, Expr, Postfix};
use crate::error::Error;
use crate::lexer::Token;

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
    /// One expression, or several with commas: a tuple.
    pub(super) fn tuple(&mut self, with_conditional: bool) -> Result<Expr, Error> {
        self.tuple_until(with_conditional, &[])
    }

    pub(super) fn tuple_until(&mut self, with_conditional: bool, ends: &[&str]) -> Result<Expr, Error> {
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

    pub(super) fn expression(&mut self) -> Result<Expr, Error> {
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

    pub(super) fn or(&mut self) -> Result<Expr, Error> {
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
    pub(super) fn arguments(&mut self) -> Result<Arguments, Error> {
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
