//! What a template may not do, tried slightly beyond each bound; and that nothing it does ends the process.

use puna_jinja::{Error, Input, Limits, Output, Template};
use serde_json::{Value, json};

fn render_with(limits: Limits, source: &str, variables: &Value) -> Result<Output, Error> {
    let variables = variables.as_object().unwrap();
    let variables: Vec<(&str, Input)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.into())).collect();
    Template::new(source, limits)?.render(&variables, std::time::UNIX_EPOCH)
}

fn render(source: &str) -> Result<String, Error> {
    render_with(Limits::default(), source, &json!({})).map(|output| output.text)
}

/// `source` with `n` where it says N.
fn repeated(parts: [&str; 3], n: usize) -> String {
    [parts[0].repeat(n), parts[1].to_owned(), parts[2].repeat(n)].concat()
}

#[test]
fn text_nests_so_deep() {
    let expressions = [
        ["(", "1", ")"],
        ["[", "1", "]"],
        ["{1:", "1", "}"],
        ["-", "1", ""],
        ["-+", "1", ""],
        ["a[", "1", "]"],
        ["a(", "1", ")"],
        ["a|d(", "1", ")"],
        ["a is in(", "1", ")"],
        ["1 if a else (", "1", ")"],
    ];
    for parts in expressions {
        let source = |n| format!("{{{{ {} }}}}", repeated(parts, n));
        assert!(Template::new(&source(10), Limits::default()).is_ok(), "{parts:?}");
        for n in [150, 5_000] {
            let error = Template::new(&source(n), Limits::default()).unwrap_err();
            assert_eq!(
                error,
                Error::Limit("its text nests more than 100 levels deep".to_owned()),
                "{parts:?}"
            );
        }
    }
    for [begin, end] in [
        ["{% if 1 %}", "{% endif %}"],
        ["{% for a in b %}", "{% endfor %}"],
        ["{% set a %}", "{% endset %}"],
        ["{% filter upper %}", "{% endfilter %}"],
        ["{% with %}", "{% endwith %}"],
        ["{% macro m() %}", "{% endmacro %}"],
        ["{% call m() %}", "{% endcall %}"],
        ["{% generation %}", "{% endgeneration %}"],
    ] {
        assert!(Template::new(&repeated([begin, "x", end], 20), Limits::default()).is_ok(), "{begin}");
        let error = Template::new(&repeated([begin, "x", end], 150), Limits::default()).unwrap_err();
        assert!(matches!(error, Error::Limit(_)), "{begin}: {error}");
    }
    let targets = format!("{{% for {} in x %}}{{% endfor %}}", repeated(["(", "a", ",)"], 150));
    assert!(matches!(Template::new(&targets, Limits::default()), Err(Error::Limit(_))));
}

/// What is long without being nested is long only.
#[test]
fn chains_are_no_nesting() {
    let n = 20_000;
    assert_eq!(render(&format!("{{{{ {}1 }}}}", "1 + ".repeat(n))).unwrap(), format!("{}", n + 1));
    assert_eq!(render(&format!("{{{{ {}1 }}}}", "0 or ".repeat(n))).unwrap(), "1");
    assert_eq!(render(&format!("{{{{ {}1 }}}}", "not ".repeat(n))).unwrap(), "True");
    assert_eq!(render(&format!("{{{{ {}1 }}}}", "1 ~ ".repeat(n))).unwrap().len(), n + 1);
    assert_eq!(render(&format!("{{{{ {}1 }}}}", "2 if 0 else ".repeat(n))).unwrap(), "1");
    assert_eq!(render(&format!("{{{{ 'a'{} }}}}", "|upper".repeat(n))).unwrap(), "A");
    assert_eq!(render(&format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(n))).unwrap(), "");
    assert_eq!(render(&format!("{{{{ 1{} }}}}", " < 2".repeat(n))).unwrap(), "False");
}

#[test]
fn values_nest_so_deep() {
    let grown = |grow: &str, use_it: &str, n: usize| {
        render(&format!(
            "{{% set ns = namespace(x=[]) %}}{{% for i in range({n}) %}}{{% set ns.x = {grow} %}}{{% endfor %}}{use_it}"
        ))
    };
    let uses = [
        "{{ ns.x }}",
        "{{ ns.x == [ns.x] }}",
        "{{ ns.x | tojson | length }}",
        "{{ [ns.x] | sort | length }}",
    ];
    for grow in [
        "[ns.x]",
        "(ns.x, 1)",
        "{'a': ns.x}",
        "[ns.x] + [1]",
        "{'a': ns.x}.items()",
        "[[ns.x]]|first|list|batch(1)|list",
    ] {
        for use_it in uses {
            assert!(grown(grow, use_it, 20).is_ok(), "{grow} {use_it}: {:?}", grown(grow, use_it, 20));
        }
        let error = grown(grow, "", 250).unwrap_err();
        assert_eq!(error, Error::Limit("its values nest more than 200 levels deep".to_owned()), "{grow}");
    }
    // Methods and loops hold values, too.
    assert!(matches!(grown("{'a': ns.x}.get", "", 250), Err(Error::Limit(_))));
    let loops = "{% set ns = namespace(x=1) %}{% for i in range(250) %}{% for j in [ns.x] %}{% set ns.x = loop %}\
        {% endfor %}{% endfor %}";
    assert!(matches!(render(loops), Err(Error::Limit(_))));
}

/// A namespace may hold itself, and macros and scopes each other: nothing follows them without end.
#[test]
fn values_may_hold_themselves() {
    let printed = render("{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}");
    assert!(matches!(printed, Err(Error::Limit(_))), "{printed:?}");
    assert_eq!(render("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns.x.x.x == ns }}").unwrap(), "True");
    let written = render("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns | tojson }}");
    assert!(matches!(written, Err(Error::Failed { .. })), "{written:?}");
    // A chain of macros, each of which keeps the scope of the one before.
    let chain = "{% set ns = namespace(m=1) %}{% for i in range(20000) %}{% set before = ns.m %}\
        {% macro m() %}{{ before }}{% endmacro %}{% set ns.m = m %}{% endfor %}ok";
    assert_eq!(render(chain).unwrap(), "ok");
    // What is seen many times is there once, and still seen a bounded number of times.
    let shared =
        "{% set ns = namespace(x=[1, 1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
    assert_eq!(render(&format!("{shared}ok")).unwrap(), "ok");
    for use_it in ["{{ ns.x }}", "{{ ns.x | tojson }}", "{{ ns.x == [ns.x[0], ns.x[1]] }}"] {
        assert!(matches!(render(&format!("{shared}{use_it}")), Err(Error::Limit(_))), "{use_it}");
    }
}

#[test]
fn calls_nest_so_deep() {
    let recursive = |n: usize| {
        render(&format!(
            "{{% macro f(n) %}}{{% if n > 0 %}}{{{{ f(n - 1) }}}}{{% else %}}end{{% endif %}}{{% endmacro %}}{{{{ f({n}) }}}}"
        ))
    };
    assert_eq!(recursive(100).unwrap(), "end");
    assert!(matches!(recursive(5_000), Err(Error::Deep(_))), "{:?}", recursive(5_000));
    let endless = "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}";
    assert!(matches!(render(endless), Err(Error::Deep(_))));
    let caller = "{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}";
    assert!(matches!(render(caller), Err(Error::Deep(_))));
}

/// The budget is one for all values alive; widths and counts are refused before anything is made.
#[test]
fn values_take_so_many_bytes() {
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let variables = json!({"x": "x".repeat(1000), "l": vec![1; 1000], "d": {"a": "b"}});
    let said = |source: &str| render_with(limits, source, &variables);
    for source in [
        "{{ x * 2000 }}",
        "{{ x * 1000000000000 }}",
        "{{ l * 2000 }}",
        "{{ (1, 2) * 10000000000000 }}",
        "{{ 'a'.center(2000000) }}",
        "{{ 'a'.ljust(2000000) }}{{ 'a'.zfill(2000000) }}",
        "{{ 'a' | center(2000000) }}",
        "{{ '%2000000d' % 1 }}",
        "{{ '%*d' % (2000000, 1) }}",
        "{{ '%.2000000f' % 1.5 }}",
        "{{ '{:2000000}'.format('a') }}",
        "{{ '{:2000000d}'.format(1) }}",
        "{{ '{:02000000d}'.format(1) }}",
        "{{ '{:.2000000f}'.format(1.5) }}",
        "{{ 'a\\tb'.expandtabs(2000000) }}",
        "{{ ('a\\n' * 2000) | indent(2000) }}",
        "{{ 'a\\nb' | indent(2000000) }}",
        "{{ [1] | tojson(indent=2000000) }}",
        "{{ x.replace('', x) }}{{ x.replace('x', x * 2) }}",
        "{{ ('x' * 1000).join(l | map('string')) }}",
        "{{ [1] | batch(2000000, 'x') | list }}",
        "{{ [1] | slice(2000000) | list }}",
        "{{ range(90000) | list }}",
        "{{ strftime_now('%A' * 100000) }}",
        "{% set ns = namespace(x='x') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(40) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{{ ('a,' * 60000).split(',') }}",
        "{{ ('a,' * 60000).rsplit(',') }}",
        "{{ ('a ' * 60000).split() }}",
        "{{ ('a\\n' * 60000).splitlines() }}",
        "{{ ('é' * 130000)[::2] }}",
        "{{ ('a' * 400000) | upper }}",
        "{{ ''.strip('a' * 100000) }}",
        "{{ ([1.5] * 10000) | map('attr', 'is_integer') | list }}",
        "{{ [range, range, range] * 11000 }}",
        "{% for i in range(3000) %}{{ x }}{% endfor %}",
        "{% set a %}{% for i in range(3000) %}{{ x }}{% endfor %}{% endset %}",
        "{% for i in range(20000) %}{% set ns = namespace(a=1) %}{% endfor %}",
        "{% for i in range(20000) %}{% macro m() %}{% endmacro %}{% endfor %}",
        "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l[:5], {'a': x ~ i}] %}{% endfor %}{{ (x ~ 1) * 1100 }}",
    ] {
        let error = said(source).map(|output| output.text.len()).unwrap_err();
        assert!(matches!(&error, Error::Limit(what) if !what.contains("steps")), "{source}: {error}");
    }
    // What is let go is free again.
    assert!(said("{% for i in range(3000) %}{% set a = x ~ x %}{% endfor %}").is_ok());
}

#[test]
fn renderings_take_so_many_steps() {
    for source in [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{{ ('x' * 100000) | length }}{% endfor %}",
        "{% set l = range(30000) | list %}{{ l | unique | list | length }}",
        "{% set l = range(30000) | list %}{% for a in l %}{{ a in l }}{% endfor %}",
    ] {
        let error = render(source).unwrap_err();
        assert!(matches!(&error, Error::Limit(what) if what.contains("steps")), "{source}: {error}");
    }
    // What one expression reads is counted as well, wherever it is read.
    let limits = Limits { steps: 1_000_000, ..Limits::default() };
    for expression in [
        "x | length",
        "x == y",
        "x < y",
        "'b' in x",
        "x in 'b'",
        "'b'.find(x)",
        "'b'.count(x)",
        "'b'.split(x)",
        "'b'.partition(x)",
        "'b' | replace(x, '')",
        "x.isalpha()",
        "x is lower",
        "x | wordcount",
        "x | int",
        "x | float",
        "x | trim",
        "x.strip('a')",
        "x.startswith((y,))",
        "x | truncate",
        "x | title",
        "x | e",
        "x[1:5]",
        "x[5]",
        "[x] | string",
        "x | tojson",
        "{x: 1}[y]",
        "l | join",
        "''.join(l)",
        "l | map('length') | sum",
        "l | select | list",
    ] {
        let source = format!(
            "{{% set x = 'a' * 500000 %}}{{% set y = x[1:] ~ 'b' %}}{{% set l = [''] * 9000 %}}\
            {{% for i in range(200) %}}{{% set z = {expression} %}}{{% endfor %}}"
        );
        let error = render_with(limits, &source, &json!({})).map(|output| output.text).unwrap_err();
        assert!(matches!(&error, Error::Limit(what) if what.contains("steps")), "{expression}: {error}");
    }
    // Names are found by looking through them: many of them take their steps.
    let many = |one: fn(usize) -> String| (0..5000).map(one).collect::<String>();
    for source in [
        many(|n| format!("{{% set a{n} = 1 %}}")) + "{% for i in range(9999) %}{{ b }}{% endfor %}",
        "{% set ns = namespace() %}".to_owned()
            + &many(|n| format!("{{% set ns.a{n} = 1 %}}"))
            + "{% for i in range(9999) %}{{ ns.b }}{% endfor %}",
        format!("{{% set f = '{{a4999}}' * 9000 %}}{{{{ f.format({}) }}}}", many(|n| format!("a{n}=1,"))),
    ] {
        let error = render_with(limits, &source, &json!({})).map(|output| output.text).unwrap_err();
        assert!(matches!(&error, Error::Limit(what) if what.contains("steps")), "{error}");
    }
    let long = " ".repeat((1 << 20) + 1);
    assert!(matches!(Template::new(&long, Limits::default()), Err(Error::Limit(_))));
    assert!(matches!(render("{{ 2 ** 200 }}"), Err(Error::Limit(_))));
    assert!(matches!(render("{{ 1e39 | int }}"), Err(Error::Limit(_))));
    assert!(matches!(render("{{ ('9' * 40) | int }}"), Err(Error::Limit(_))));
    assert!(matches!(render("{{ range(100001) }}"), Err(Error::Limit(_))));
}

/// A loop that is over holds nothing, so that no chain of loops is left to be let go one within the other.
#[test]
fn loops_let_go_of_what_they_compare() {
    for (set, call) in
        [("loop.changed(ns.x)", "1"), ("loop.changed(loop)", "1"), ("loop.changed", "ns.f(ns.x)")]
    {
        let source = format!(
            "{{% set ns = namespace(x=0, y=0, f=0) %}}{{% for i in range(20000) %}}{{% for j in [1] %}}\
            {{% set ns.f = {set} %}}{{% set ns.y = loop %}}{{% endfor %}}{{% set z = {call} %}}\
            {{% set ns.x = ns.y %}}{{% endfor %}}ok"
        );
        assert_eq!(render(&source).unwrap(), "ok", "{set}");
    }
    let recursive = "{% set ns = namespace() %}{% for i in range(20000) %}{% for x in [1] recursive %}\
        {% set ns.l = loop %}{% endfor %}{% set q = ns.l %}{% set ns.q = q %}{% endfor %}ok";
    assert_eq!(render(recursive).unwrap(), "ok");
}

/// The largest and the smallest of numbers, wherever one can stand: a result or an error.
#[test]
fn numbers_may_be_extreme() {
    for m in
        ["(-(2**126)*2)", "(2**126 - 1 + 2**126)", "1e308", "-1e308", "(1e308 * 10)", "(0 * (1e308 * 10))"]
    {
        for expression in [
            "-M",
            "M // -1",
            "M % -1",
            "M // 1",
            "M % M",
            "M * M",
            "M ** M",
            "M ** 2",
            "M - 1 - M",
            "M | abs",
            "M | round",
            "M | round(-1)",
            "M | round(-38)",
            "M | round(-39)",
            "M | round(M)",
            "M | round(2, 'floor')",
            "M | int",
            "M | float",
            "M | string | int",
            "M | tojson",
            "M is divisibleby(-1)",
            "M is odd",
            "range(M, 5, M) | list",
            "range(5, 0, M) | list",
            "range(0, M, M) | list",
            "range(-M - 1, M, M) | list",
            "'abc'[M:]",
            "'abc'[:M]",
            "'abc'[::M]",
            "'abc'[M]",
            "[1, 2][M:M:M]",
            "[1][M]",
            "'é'[::M]",
            "'a'.center(M)",
            "'a'.zfill(M)",
            "'a'.ljust(M)",
            "'a' | center(M)",
            "'a\\tb'.expandtabs(M)",
            "'a\\nb' | indent(M)",
            "'a b' | truncate(M)",
            "'a b' | truncate(9, false, '', M)",
            "[1] | batch(M) | list",
            "[1] | slice(M) | list",
            "'aa'.replace('a', 'b', M)",
            "'aa'.split('a', M)",
            "'aa'.rsplit(none, M)",
            "'aa'.find('a', M)",
            "'aa'.count('a', M, M)",
            "'aa'.startswith('a', M)",
            "'%d %x %o' % (M, M, M)",
            "'%c' % M",
            "'%*d' % (M, 1)",
            "'%.*f' % (M, 1.5)",
            "'%f %e %g' % (M, M, M)",
            "'{:,} {:_x} {:b}'.format(M, M, M)",
            "'{:c}'.format(M)",
            "'{:.1000f}{:%}'.format(M, M)",
            "[1] | tojson(indent=M)",
            "'z' | int(0, M)",
            "[M, 1] | sort",
            "{M: 1}[M]",
            "[1] | sum(start=M)",
        ] {
            let source = format!("{{{{ {} }}}}", expression.replace('M', m));
            let _ = render(&source);
        }
    }
    assert_eq!(render("{{ '%.1000d' % 1 }}").unwrap().len(), 1000);
    for format in ["%.1002d", "%.99999999999999999999d", "%99999999999999999999d"] {
        assert!(matches!(render(&format!("{{{{ '{format}' % 1 }}}}")), Err(Error::Limit(_))), "{format}");
    }
}

/// All of it on the smallest stack that threads usually have.
#[test]
fn bounds_hold_on_a_small_stack() {
    let run = || {
        text_nests_so_deep();
        chains_are_no_nesting();
        values_nest_so_deep();
        values_may_hold_themselves();
        calls_nest_so_deep();
        loops_let_go_of_what_they_compare();
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap();
}
