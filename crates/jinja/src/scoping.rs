//! Names that a body hides.
//!
//! Jinja2 decides before anything runs what each name is. One that a body sets, and has not asked for before in its
//! own statements, is the body's own from the beginning: a loop or a macro inside that asks for it before it is set
//! finds nothing, whatever the caller gave under this name. Where the body sets it only under a condition, or has
//! asked for it before, the caller's value counts until then. (Jinja2 3.1.6, `idtracking`.)
//!
//! Scopes here are asked when a name is needed, innermost first, which gives the same but for such a name. So it is
//! made undefined where its body begins.

use std::collections::{HashMap, HashSet};

use crate::ast::{Arguments, Expr, For, Macro, Postfix, Stmt, StmtKind, Symbol, Target};

/// Puts a statement in front of each body that hides names which the bodies inside ask for.
pub(crate) fn hide_names(body: &mut Vec<Stmt>) {
    Scopes::default().enter(body, &[], &[]);
}

/// What is known of the bodies around.
#[derive(Default)]
struct Scopes {
    /// The names that each of them has something to do with.
    around: Vec<HashSet<Symbol>>,
}

/// What is known of a body's own statements, so far.
#[derive(Default)]
struct Body {
    /// Names asked for or set, and in which order they became known.
    known: HashSet<Symbol>,
    log: Vec<Symbol>,
    /// Names that are the body's own from its beginning, and how many bodies inside come before they are set.
    own: HashMap<Symbol, usize>,
    /// Bodies inside so far.
    n_inside: usize,
}

impl Scopes {
    /// Handles a body that has these parameters, with these defaults. Returns all names that it asks for.
    fn enter(&mut self, body: &mut Vec<Stmt>, parameters: &[Symbol], defaults: &[Expr]) -> HashSet<Symbol> {
        let mut of_body = Body::default();
        of_body.known.extend(parameters);
        defaults.iter().for_each(|expr| of_body.ask(expr));
        of_body.walk(body);
        let mut asked = HashSet::new();
        defaults.iter().for_each(|expr| names_in(expr, &mut |name| asked.extend([name])));
        // Where a body around knows the name, that is what is meant until it is set.
        let is_around = |name: &Symbol| self.around.iter().any(|known| known.contains(name));
        of_body.own.retain(|name, _| !is_around(name));
        self.around.push(std::mem::take(&mut of_body.known));
        let mut hidden: Vec<Symbol> = Vec::new();
        let mut n_inside = 0;
        for_each_inside(body, &mut |inside| {
            let names = match inside {
                Inside::Names(expr) => {
                    names_in(expr, &mut |name| asked.extend([name]));
                    return;
                }
                Inside::Body(body, parameters, defaults) => self.enter(body, &parameters, defaults),
            };
            hidden.extend(names.iter().filter(|name| of_body.own.get(name).is_some_and(|at| n_inside < *at)));
            asked.extend(names);
            n_inside += 1;
        });
        self.around.pop();
        hidden.sort_unstable();
        hidden.dedup();
        if !hidden.is_empty() {
            let line = body.first().map_or(1, |first| first.line);
            body.insert(0, Stmt { line, kind: StmtKind::Hide(hidden) });
        }
        asked
    }
}

impl Body {
    /// Makes a name known. Returns whether it was not before.
    fn is_new(&mut self, name: Symbol) -> bool {
        let is_new = self.known.insert(name);
        if is_new {
            self.log.push(name);
        }
        is_new
    }

    fn ask(&mut self, expr: &Expr) {
        names_in(expr, &mut |name| _ = self.is_new(name));
    }

    fn ask_all(&mut self, arguments: &Arguments) {
        names_in_arguments(arguments, &mut |name| _ = self.is_new(name));
    }

    fn store(&mut self, target: &Target) {
        match target {
            Target::Name(name) => {
                if self.is_new(*name) {
                    self.own.insert(*name, self.n_inside);
                }
            }
            Target::Attribute(name, _) => _ = self.is_new(*name),
            Target::Tuple(targets) => targets.iter().for_each(|target| self.store(target)),
        }
    }

    fn walk(&mut self, body: &[Stmt]) {
        for statement in body {
            match &statement.kind {
                StmtKind::Print(expr) => self.ask(expr),
                StmtKind::If(branches, otherwise) => self.walk_branches(branches, otherwise),
                StmtKind::For(of) => {
                    self.ask(&of.iterable);
                    self.n_inside += 2;
                }
                StmtKind::Set(target, value) => {
                    self.ask(value);
                    self.store(target);
                }
                StmtKind::SetBlock(target, filters, _) => {
                    // The body comes before the name has a value.
                    self.n_inside += 1;
                    self.store(target);
                    filters.iter().for_each(|(_, arguments)| self.ask_all(arguments));
                }
                StmtKind::With(bindings, _) => {
                    bindings.iter().for_each(|(_, value)| self.ask(value));
                    self.n_inside += 1;
                }
                StmtKind::Macro(of) => {
                    self.store(&Target::Name(of.name));
                    self.n_inside += 1;
                }
                StmtKind::Call(_, call) => {
                    self.ask(call);
                    self.n_inside += 1;
                }
                StmtKind::Filter(filters, _) => {
                    filters.iter().for_each(|(_, arguments)| self.ask_all(arguments));
                    self.n_inside += 1;
                }
                StmtKind::Generation(_) | StmtKind::Block(_) => self.n_inside += 1,
                StmtKind::Text(_) | StmtKind::Break | StmtKind::Continue | StmtKind::Hide(_) => {}
            }
        }
    }

    /// What a branch sets may be set or not: until then the caller's value counts.
    fn walk_branches(&mut self, branches: &[(Expr, Vec<Stmt>)], otherwise: &[Stmt]) {
        let mut of_branches = Vec::new();
        let mut walk = |body: &mut Body, statements: &[Stmt]| {
            let before = body.log.len();
            body.walk(statements);
            // The next branch begins as this one did.
            for name in body.log.drain(before..) {
                body.known.remove(&name);
                body.own.remove(&name);
                of_branches.push(name);
            }
        };
        for (condition, statements) in branches {
            self.ask(condition);
            walk(self, statements);
        }
        walk(self, otherwise);
        of_branches.into_iter().for_each(|name| _ = self.is_new(name));
    }
}

/// What is inside a body, in order.
enum Inside<'a> {
    /// An expression of its own statements.
    Names(&'a Expr),
    /// A body with a scope of its own, its parameters, and their defaults.
    Body(&'a mut Vec<Stmt>, Vec<Symbol>, &'a [Expr]),
}

fn for_each_inside(body: &mut [Stmt], visit: &mut impl FnMut(Inside)) {
    for statement in body {
        match &mut statement.kind {
            StmtKind::Print(expr) | StmtKind::Set(_, expr) => visit(Inside::Names(expr)),
            StmtKind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    visit(Inside::Names(condition));
                    for_each_inside(body, visit);
                }
                for_each_inside(otherwise, visit);
            }
            StmtKind::For(of) => {
                let For { target, iterable, condition, body, otherwise, .. } = &mut **of;
                visit(Inside::Names(iterable));
                let mut names = Vec::new();
                names_of(target, &mut names);
                condition.iter().for_each(|condition| visit(Inside::Names(condition)));
                visit(Inside::Body(body, names, &[]));
                visit(Inside::Body(otherwise, Vec::new(), &[]));
            }
            StmtKind::With(bindings, body) => {
                let mut names = Vec::new();
                for (target, value) in bindings {
                    names_of(target, &mut names);
                    visit(Inside::Names(value));
                }
                visit(Inside::Body(body, names, &[]));
            }
            StmtKind::Macro(of) => visit_macro(of, visit),
            StmtKind::Call(of, call) => {
                visit(Inside::Names(call));
                visit_macro(of, visit);
            }
            StmtKind::SetBlock(_, filters, body) | StmtKind::Filter(filters, body) => {
                let arguments = filters.iter().flat_map(|(_, arguments)| expressions(arguments));
                arguments.for_each(|expr| visit(Inside::Names(expr)));
                visit(Inside::Body(body, Vec::new(), &[]));
            }
            StmtKind::Generation(body) | StmtKind::Block(body) => {
                visit(Inside::Body(body, Vec::new(), &[]));
            }
            StmtKind::Text(_) | StmtKind::Break | StmtKind::Continue | StmtKind::Hide(_) => {}
        }
    }
}

fn visit_macro(of: &mut Macro, visit: &mut impl FnMut(Inside)) {
    let surplus = [of.surplus.caller, of.surplus.kwargs, of.surplus.varargs];
    let names = of.parameters.iter().copied().chain(surplus.into_iter().flatten()).collect();
    visit(Inside::Body(&mut of.body, names, &of.defaults));
}

fn names_of(target: &Target, names: &mut Vec<Symbol>) {
    match target {
        Target::Name(name) | Target::Attribute(name, _) => names.push(*name),
        Target::Tuple(targets) => targets.iter().for_each(|target| names_of(target, names)),
    }
}

fn expressions(arguments: &Arguments) -> impl Iterator<Item = &Expr> {
    let named = arguments.named.iter().map(|(_, value)| value);
    let rest = arguments.list.as_deref().into_iter().chain(arguments.dict.as_deref());
    arguments.positional.iter().chain(named).chain(rest)
}

fn names_in_arguments(arguments: &Arguments, found: &mut impl FnMut(Symbol)) {
    expressions(arguments).for_each(|expr| names_in(expr, found));
}

/// Calls `found` for every name that an expression asks for.
fn names_in(expr: &Expr, found: &mut impl FnMut(Symbol)) {
    match expr {
        Expr::None | Expr::Bool(_) | Expr::Int(_) | Expr::Float(_) | Expr::Str(_) => {}
        Expr::Name(name) => found(*name),
        Expr::List(items) | Expr::Tuple(items) | Expr::Or(items) | Expr::And(items) | Expr::Concat(items) => {
            items.iter().for_each(|item| names_in(item, found));
        }
        Expr::Dict(entries) => entries.iter().for_each(|(key, value)| {
            names_in(key, found);
            names_in(value, found);
        }),
        Expr::Not(inner) | Expr::Negative(inner) | Expr::Positive(inner) => names_in(inner, found),
        Expr::Compare(first, others) => {
            names_in(first, found);
            others.iter().for_each(|(_, other)| names_in(other, found));
        }
        Expr::Arithmetic(first, others) => {
            names_in(first, found);
            others.iter().for_each(|(_, other)| names_in(other, found));
        }
        Expr::Conditional(ways, otherwise) => {
            ways.iter().for_each(|(value, condition)| {
                names_in(value, found);
                names_in(condition, found);
            });
            otherwise.iter().for_each(|value| names_in(value, found));
        }
        Expr::Postfix(of, chain) => {
            names_in(of, found);
            for link in chain {
                match link {
                    Postfix::Attribute(_) => {}
                    Postfix::Item(item) => names_in(item, found),
                    Postfix::Slice(ends) => ends.iter().flatten().for_each(|end| names_in(end, found)),
                    Postfix::Call(arguments)
                    | Postfix::Filter(_, arguments)
                    | Postfix::Test { arguments, .. } => names_in_arguments(arguments, found),
                }
            }
        }
    }
}
