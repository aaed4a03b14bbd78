//! Random templates over random inputs, in a process of little memory: an answer or an error, never a signal.

use std::process::Command;

use proptest::prelude::*;
use puna_jinja::{Input, Limits, Template};
use serde_json::{Value, json};

/// Says to the process that runs the test below what to do.
const CHILD: &str = "PUNA_JINJA_RANDOM_TEMPLATES";

/// Kilobytes of address space for it, threads' stacks among them.
const MEMORY_KB: usize = 600_000;

#[test]
fn random_templates_end_within_their_limits() {
    if std::env::var_os(CHILD).is_some() {
        return run_random_templates();
    }
    let program = std::env::current_exe().unwrap();
    let own_name = "random_templates_end_within_their_limits";
    let limited = format!("ulimit -v {MEMORY_KB}; exec \"$0\" --exact {own_name}");
    let done = Command::new("sh").arg("-c").arg(limited).arg(program).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}\n{said}", done.status);
    assert!(said.contains("1 passed"), "{said}");
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-e]",
        "[0-9]{1,3}",
        "'[a-c<>|% ]{0,6}'",
        Just("ns.x".to_owned()),
        Just("ns".to_owned()),
        Just("messages".to_owned()),
        Just("loop".to_owned()),
        Just("m".to_owned()),
        Just("range(999)".to_owned()),
        Just("-1".to_owned()),
        Just("1.5".to_owned()),
        Just("none".to_owned()),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        let several = prop::collection::vec(inner.clone(), 0..4);
        let operator = prop::sample::select(vec![
            "+",
            "-",
            "*",
            "/",
            "//",
            "%",
            "**",
            "~",
            "==",
            "<",
            "in",
            "and",
            "or",
            "not in",
            "if 1 else",
        ]);
        let filter = prop::sample::select(vec![
            "upper",
            "title",
            "trim",
            "list",
            "length",
            "first",
            "last",
            "join(',')",
            "tojson",
            "tojson(indent=9)",
            "sort",
            "unique",
            "reverse",
            "items",
            "indent(99)",
            "center(9999)",
            "replace('a', 'aaaa')",
            "string",
            "batch(3)",
            "slice(3)",
            "map('string')",
            "map(attribute='x')",
            "select",
            "groupby('x')",
            "sum",
            "min",
            "int",
            "float",
            "round(3)",
            "abs",
            "default(1)",
            "escape",
            "format(1, 2)",
            "truncate(5)",
            "dictsort",
            "urlencode",
            "wordcount",
            "attr('x')",
            "map('batch', 2)",
            "selectattr('x', 'eq', 1)",
        ]);
        let method = prop::sample::select(vec![
            "strip()",
            "split()",
            "split('a')",
            "upper()",
            "replace('', 'ab')",
            "get('a')",
            "items()",
            "keys()",
            "format(1)",
            "zfill(999)",
            "ljust(999, 'x')",
            "join(['a', 'b'])",
            "splitlines()",
            "expandtabs(99)",
            "x",
            "index0",
            "cycle(1, 2)",
            "changed(1)",
            "startswith('a')",
            "partition('a')",
            "content",
            "title()",
            "append(1)",
            "next()",
            "format_map({})",
        ]);
        let test = prop::sample::select(vec!["defined", "string", "odd", "iterable", "mapping", "sameas 1"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), filter).prop_map(|(a, filter)| format!("{a}|{filter}")),
            (inner.clone(), method).prop_map(|(a, method)| format!("{a}.{method}")),
            (inner.clone(), test).prop_map(|(a, test)| format!("({a} is {test})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}:]")),
            several.clone().prop_map(|items| format!("[{}]", items.join(", "))),
            several.clone().prop_map(|items| format!("f({})", items.join(", "))),
            several.prop_map(|items| {
                let entries: Vec<String> = items.iter().map(|item| format!("{item}: {item}")).collect();
                format!("{{{}}}", entries.join(", "))
            }),
        ]
    })
}

fn statements() -> impl Strategy<Value = String> {
    let text = "[a-c {}%#<|\n-]{0,8}".prop_map(|text| text);
    let leaf = prop_oneof![
        text,
        expression().prop_map(|value| format!("{{{{ {value} }}}}")),
        expression().prop_map(|value| format!("{{% set ns.x = {value} %}}")),
        (expression(), "[a-d]").prop_map(|(value, name)| format!("{{% set {name} = {value} %}}")),
    ];
    let many = |inner: BoxedStrategy<String>| prop::collection::vec(inner, 1..4).prop_map(|all| all.concat());
    leaf.boxed().prop_recursive(4, 30, 4, move |inner| {
        let body = many(inner.boxed());
        prop_oneof![
            (expression(), body.clone())
                .prop_map(|(value, body)| format!("{{% if {value} %}}{body}{{% endif %}}")),
            (expression(), body.clone())
                .prop_map(|(value, body)| format!("{{% for m in {value} %}}{body}{{% endfor %}}")),
            (expression(), body.clone()).prop_map(|(value, body)| format!(
                "{{% for m in {value} recursive %}}{body}{{{{ loop(m) }}}}{{% endfor %}}"
            )),
            body.clone().prop_map(|body| format!("{{% macro f(a, b=1) %}}{body}{{% endmacro %}}")),
            body.clone().prop_map(|body| format!("{{% call f(1) %}}{body}{{% endcall %}}")),
            body.clone().prop_map(|body| format!("{{% set a %}}{body}{{% endset %}}")),
            body.clone().prop_map(|body| format!("{{% filter upper %}}{body}{{% endfilter %}}")),
            body.clone().prop_map(|body| format!("{{% generation %}}{body}{{% endgeneration %}}")),
            body.prop_map(|body| format!(
                "{{% for i in range(99) %}}{body}{{% set ns.x = [ns.x, ns.x ~ ns.x] %}}{{% endfor %}}"
            )),
        ]
    })
}

fn input() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c<|>é ]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-cx]|role|content", inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn run_random_templates() {
    let limits = Limits { bytes: 16 << 20, steps: 300_000, ..Limits::default() };
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() };
    let (mut n_printed, mut n_limits) = (0, 0);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let counts = std::cell::RefCell::new((&mut n_printed, &mut n_limits));
    let strategy = (prop::collection::vec(statements(), 1..4), input());
    let done = runner.run(&strategy, |(body, input)| {
        let source = format!("{{% set ns = namespace(x='ab') %}}{}", body.concat());
        let messages = json!([{"role": "user", "content": input}]);
        let variables = [("messages", Input::Json(&messages)), ("e", Input::Text("<|e|>"))];
        let Ok(template) = Template::new(&source, limits) else { return Ok(()) };
        let mut counts = counts.borrow_mut();
        match template.render(&variables, std::time::UNIX_EPOCH) {
            Ok(output) => {
                *counts.0 += 1;
                let joined: String = output.runs().map(|(text, _)| text).collect();
                prop_assert_eq!(joined, output.text);
            }
            Err(puna_jinja::Error::Limit(_) | puna_jinja::Error::Deep(_)) => *counts.1 += 1,
            Err(_) => {}
        }
        Ok(())
    });
    done.unwrap();
    // They are no mere nonsense.
    assert!(n_printed > 10 && n_limits > 0, "{n_printed} were printed, {n_limits} went beyond a limit");
}

/// Whatever a template does with input, what comes of it is known to come from there.
#[test]
fn input_stays_input() {
    for expression in [
        "x",
        "x ~ 'a'",
        "x + 'a'",
        "x * 2",
        "x[1:]",
        "x[0]",
        "x[::-1]",
        "x | upper",
        "x | title",
        "x.capitalize()",
        "x.swapcase()",
        "x | replace('a', x)",
        "'aXa' | replace('X', x)",
        "'X'.replace('X', x)",
        "[x] | join(',')",
        "x.join(['a', 'b'])",
        "x | tojson",
        "[x]",
        "{x: x}",
        "(x,)",
        "'%s' % x",
        "'{}'.format(x)",
        "'{a}'.format(a=x)",
        "x | list",
        "x.split('<') | join('<')",
        "x | indent",
        "x | center(40)",
        "x.ljust(40, '*')",
        "x | escape",
        "x | trim",
        "x | truncate(6)",
        "{'k': x} | dictsort",
        "[x] | map('upper') | join",
        "x | string",
        "x | e",
        "x.partition('|')",
        "x.splitlines() | first",
        "x if x",
        "x or 'a'",
        "[x] | first",
        "{'a': x}.a",
        "x | urlencode",
        "d | items | list",
        "d",
        "d | tojson",
        "d.keys() | list",
        "x.expandtabs()",
        "x.removeprefix('q')",
        "x.zfill(20)",
        "x | format",
        "namespace(a=x).a",
        "strftime_now(x)",
        "[x, x] | unique | list",
        "[x] | groupby(0) | list",
        "{'v': x} | tojson(indent=2)",
        "dict(v=x)",
        "'%r' % x",
        "'%(a)s' % {'a': x}",
        "joiner(x)",
        "x.casefold()",
        "'{:{f}}'.format('a', f=x[2] ~ '^9')",
        "('{:' ~ x[2] ~ '>9}{:' ~ x[2] ~ '=9}').format(1, 2)",
        "('%%' ~ x) % ()",
        "'%c' % (x | length + 108)",
        "'{:c}'.format(x | length + 108)",
        "x | reverse",
        "[x] | reverse | list",
        "[x] | map('reverse') | first",
    ] {
        let source = format!(
            "<|t|>{{% macro m(v) %}}{{{{ v }}}}{{% endmacro %}}{{% set y %}}{{{{ {expression} }}}}{{% endset %}}{{{{ m(y) }}}}{{% filter lower %}}{{{{ y }}}}{{% endfilter %}}<|t|>"
        );
        let template = Template::new(&source, Limits::default()).unwrap();
        let d = json!({"<|q|>": "<|q|>"});
        let variables = [("x", Input::Text("<|q|>")), ("d", Input::Json(&d))];
        let output = template.render(&variables, std::time::UNIX_EPOCH).unwrap();
        let of_template: String =
            output.runs().filter(|(_, mark)| !mark.is_input).map(|(text, _)| text).collect();
        assert!(!of_template.to_lowercase().contains('q'), "{expression}: {:?}", output);
        assert_eq!(of_template.matches("<|t|>").count(), 2, "{expression}");
    }
}

/// What an assistant said is known, through captures too.
#[test]
fn generated_text_is_marked() {
    let source = "a{% generation %}b{{ 'c' }}{% endgeneration %}d{% set x %}e{% generation %}f{% endgeneration %}g\
        {% endset %}{{ x | upper }}{% macro m() %}{% generation %}h{% endgeneration %}i{% endmacro %}{{ m() }}\
        {% generation %}{% endgeneration %}";
    let output =
        Template::new(source, Limits::default()).unwrap().render(&[], std::time::UNIX_EPOCH).unwrap();
    let said: Vec<&str> = output.runs().filter(|(_, mark)| mark.is_generated).map(|(text, _)| text).collect();
    assert_eq!((output.text.as_str(), said), ("abcdEFGhi", vec!["bc", "F", "h"]));
}
