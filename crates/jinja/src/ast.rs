//! The parsed form of a template.
//!
//! Chains (`a + b - c`, `a or b`, `a.b[c](d) | e`, `elif`) are lists rather than trees, so that only what is
//! nested in the text is nested here: that depth is bounded while parsing, and with it every recursion over
//! these types.

/// A name, as an index into the template's names.
pub(crate) type Symbol = u32;

#[derive(Debug)]
pub(crate) enum Expr {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Box<str>),
    Name(Symbol),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    /// `a or b or …`
    Or(Vec<Expr>),
    /// `a and b and …`
    And(Vec<Expr>),
    /// `a < b <= c …`
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    /// Operators of one precedence, from the left.
    Arithmetic(Box<Expr>, Vec<(Arithmetic, Expr)>),
    /// `a ~ b ~ …`
    Concat(Vec<Expr>),
    /// `value if condition`, several of them before one `else`.
    Conditional(Vec<(Expr, Expr)>, Option<Box<Expr>>),
    /// What follows a value: attributes, items, calls, filters, tests.
    Postfix(Box<Expr>, Vec<Postfix>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Debug)]
pub(crate) enum Postfix {
    /// `.name`
    Attribute(Symbol),
    /// `[expression]`
    Item(Expr),
    /// `[a:b:c]`
    Slice(Box<[Option<Expr>; 3]>),
    /// `(arguments)`
    Call(Arguments),
    /// `| name(arguments)`
    Filter(Symbol, Arguments),
    /// `is name arguments`, or `is not`
    Test { name: Symbol, arguments: Arguments, is_negated: bool },
}

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub positional: Vec<Expr>,
    pub named: Vec<(Symbol, Expr)>,
    /// `*expression`
    pub list: Option<Box<Expr>>,
    /// `**expression`
    pub dict: Option<Box<Expr>>,
}

#[derive(Debug)]
pub(crate) struct Stmt {
    pub line: u32,
    pub kind: StmtKind,
}

#[derive(Debug)]
pub(crate) enum StmtKind {
    Text(Box<str>),
    Print(Expr),
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    For(Box<For>),
    Set(Target, Expr),
    SetBlock(Target, Vec<(Symbol, Arguments)>, Vec<Stmt>),
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    Macro(Macro),
    /// `{% call(parameters) expression %}`: the macro is the body.
    Call(Macro, Expr),
    Filter(Vec<(Symbol, Arguments)>, Vec<Stmt>),
    Generation(Vec<Stmt>),
    /// A body with variables of its own.
    Block(Vec<Stmt>),
    Break,
    Continue,
    /// From here on these names are undefined until they are set ([`scoping`](crate::scoping)).
    Hide(Vec<Symbol>),
}

#[derive(Debug)]
pub(crate) struct For {
    pub target: Target,
    pub iterable: Expr,
    pub condition: Option<Expr>,
    pub is_recursive: bool,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
}

#[derive(Debug)]
pub(crate) struct Macro {
    pub name: Symbol,
    pub parameters: Vec<Symbol>,
    /// Of the last parameters.
    pub defaults: Vec<Expr>,
    pub body: Vec<Stmt>,
    /// `caller`, `kwargs` and `varargs`, which a macro has where its body names them.
    pub surplus: Surplus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Surplus {
    pub caller: Option<Symbol>,
    pub kwargs: Option<Symbol>,
    pub varargs: Option<Symbol>,
}

#[derive(Debug)]
pub(crate) enum Target {
    Name(Symbol),
    /// `{% set namespace.name = … %}`
    Attribute(Symbol, Symbol),
    Tuple(Vec<Target>),
}
