"""Writes known_output.json: what transformers' Jinja environment prints for the templates below.

Usage: python known_output.py > known_output.json   (needs `transformers` and `jinja2`; numbers of versions go into the file)

A case is a template and its variables. `null` as the expected text means that rendering fails there.
"""
import json
import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

MESSAGES = [
    {"role": "system", "content": " Be brief. "},
    {"role": "user", "content": "Héllo <b>'\"\\ world\n\n"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"b": 1, "a": [1.5, True, None, "é"]}}}]},
    {"role": "tool", "content": "{\"ok\": true}", "name": "f"},
    {"role": "user", "content": [{"type": "text", "text": "a b"}, {"type": "image"}]},
]
V = {"messages": MESSAGES, "x": 7, "y": -3, "f": 2.5, "s": "the quick brown fox", "u": "ünïcödé ẞß ǆ", "e": "", "l": [3, 1, 2],
     "names": ["b", "A", "c", "a"], "d": {"k": 1, "z": "q", "a": [1, 2]}, "n": None, "t": True, "big": 18446744073709551615,
     "rows": [{"g": "x", "v": 2}, {"g": "Y", "v": 1}, {"g": "x", "v": 3}, {"v": 0}], "tools": None}

# Expressions, each printed.
EXPRESSIONS = r"""
1 + 2 * 3 - 4 / 2 | 1
7 // 2, -7 // 2, 7 % 3, -7 % 3, 7.5 // 2, -7.5 % 2, 2 ** 10, 2 ** -1, 2 ** 3 ** 2
-2 ** 2
-x | abs
(-x) | abs
1 / 0
1 // 0
1 % 0
x / y, x // y, x % y
f * 2, f + 1, f - 0.1, 0.1 + 0.2, 1e16, 1e15, 1e-5, 0.0001, 1.0, -0.0, 100000000000000000000.0
big + 1
true + true, true * 3, true == 1, 1 == 1.0, 'a' == 1, none == false, n is none
'a' + 'b', 'a' ~ 1 ~ none ~ true ~ 1.5, 'ab' * 3, 3 * 'ab', 'ab' * -1, [1] * 2, [1] + [2], (1,) + (2, 3)
'a' + 1
[1] + (2,)
1 < 2 < 3, 1 < 3 < 2, 'a' < 'b', [1, 2] < [1, 3], (1, 2) <= (1, 2), 1 != 2 == 2
'a' < 1
1 in [1, 2], 3 not in [1, 2], 'q' in s, 'k' in d, 1 in d, '' in s, 1 in (1,), missing in l, 2 in missing
1 in 'a'
not true, not not x, not e, not 0 or 1 and 2, 1 or x.y.z, 0 and x.y.z, e or 'default', l and 'yes'
1 if t else 2, (1 if e) is undefined, 1 if e else 2 if n else 3, 'a' if false
[1, 'a', none, true, 1.5, [], (), {}, (1,), {'a': 'b'}]
'it\'s', "it's", 'say "hi"', ['it\'s', "say \"hi\"", 'both \' "', '\n\t\\', 'é', '\x00\x7f', '​']
'a' 'b' "c"
'\x41\u00e9\n\q\101'
{'a': 1, 'b': {'c': 2}}.b.c, {'a': 1}['a'], {1: 2}[1], {true: 'x'}[1], d.k, d['k'], d.missing is undefined
d.missing.x
missing.x
missing
missing + 1
missing ~ 'a', missing | length, missing | list, missing == missing2, missing is string, missing is iterable, missing is sequence
missing['a']
missing()
d.items() | list, d.keys() | list, d.values() | list, d.get('k'), d.get('no'), d.get('no', 5)
d | items | list, d | dictsort, d | length, d | list, d | first
d.update({'a': 1})
l.append(1)
l[0], l[-1], l[5] is undefined, l[1:], l[:-1], l[::-1], l[::2], l[5:], l[-2:], l[1:1], l[2:0:-1], l[::-2]
s[0], s[-1], s[4:9], s[::-1], s[100:] , u[0], u[::-1], u[1:3], u[-2:], s[20] is undefined
(1, 2, 3)[1:], (1, 2)[0]
l[1.5] is undefined, l['a'] is undefined, d[0] is undefined
l.0, messages[0].role, messages[0]['role'], messages.0.role
messages[2].tool_calls[0].function.arguments
messages[2].tool_calls[0].function.arguments | tojson
messages | tojson
messages[0] | tojson(indent=2)
messages[2].tool_calls | tojson(indent=4)
d | tojson(separators=(',', ':')), d | tojson(sort_keys=true), u | tojson(ensure_ascii=true), [] | tojson(indent=2), {} | tojson(indent=2)
[1.0, 1e20, 1e-7, 'a/b', '<>&\'', '\u2028', '\x7f'] | tojson
{1: 2, none: 3, true: 4, 1.5: 5} | tojson
missing | tojson
(1, 2) | tojson
{'b': 1, 'a': 2} | tojson
s | upper, s | title, s | capitalize, u | upper, u | lower, u | title, u | capitalize, 'ab-cd (ef) [gh] <ij>' | title
s.upper(), s.title(), s.capitalize(), "they're bill's".title(), u.swapcase(), u.casefold()
' a '.strip(), ' a '.lstrip(), ' a '.rstrip(), 'xxaxx'.strip('x'), 'abcba'.strip('ab'), ' a ' | trim, 'xax' | trim('x'), 5 | trim
'a,b,,c'.split(','), 'a b  c '.split(), 'a b c'.split(' ', 1), ' a b c '.split(none, 1), 'a,b,c'.rsplit(',', 1), ' a b c '.rsplit(none, 1), ''.split(), ''.split(',')
'a'.split('')
'a\nb\r\nc\n'.splitlines(), 'a\nb\n'.splitlines(true)
'a-b-c'.partition('-'), 'a-b-c'.rpartition('-'), 'abc'.partition('-'), 'abc'.rpartition('-')
'aXbXc'.replace('X', '-'), 'aXbXc'.replace('X', '-', 1), 'abc'.replace('', '-'), 'aaa' | replace('a', 'b'), 'aaa' | replace('a', 'b', 2), 'abc' | replace('', '-')
s.startswith('the'), s.startswith(('a', 'the')), s.endswith('fox'), s.endswith('x', 0, 5), s.startswith('quick', 4), ''.startswith('', 1)
s.find('q'), s.find('zz'), s.rfind('o'), s.index('b'), s.count('o'), s.find('o', 14), u.find('c')
s.index('zz')
'a'.join(['1', '2']), ','.join('abc'), ''.join([])
','.join([1])
'a'.center(6) ~ '|', 'ab'.center(5) ~ '|', 'a'.ljust(3, '-'), 'a'.rjust(3, '-'), '-5'.zfill(4), '5'.zfill(3), 'abc' | center(8) ~ '|'
'a\tb'.expandtabs(4), 'abc'.removeprefix('a'), 'abc'.removesuffix('c'), 'abc'.removeprefix('x')
'abc'.isalpha(), 'a1'.isalnum(), '12'.isdigit(), ' '.isspace(), 'Ab'.isupper(), 'ab'.islower(), 'AB'.isupper(), 'A B'.istitle(), ''.isalpha(), 'a_b'.isidentifier(), '²'.isdigit(), 'é'.isascii()
'%s and %d' % ('a', 5), '%5d|%-5d|%05d|%+d' % (1, 2, 3, 4), '%.2f' % 3.14159, '%e' % 12345.678, '%g %g' % (0.0001, 1e10), '%x %X %o' % (255, 255, 8), '%s' % 'a', '%r' % 'a', '%%', '%(a)s' % {'a': 1}, '%5.1f|' % 2.25, '%c' % 'x', '%5s|%-5s|' % ('a', 'b'), '%.2s' % 'abc', '%d' % 3.9, '%s' % [1]
'%d' % 'a'
'%s %s' % 'a'
'%s' % ('a', 'b')
'%s' | format('a'), '%s-%s' | format(1, 2), '%(a)s' | format(a=1)
'{} {}'.format(1, 'a'), '{1} {0}'.format(1, 2), '{a}'.format(a=5), '{0[k]}'.format(d), '{:>5}|{:<5}|{:^5}|'.format('a', 'b', 'c'), '{:05d}'.format(42), '{:.2f}'.format(2.5), '{:,}'.format(1234567), '{:x}'.format(255), '{:#x}'.format(255), '{:*^7}'.format('a'), '{!r}'.format('a'), '{{}}'.format(), '{:+}'.format(5), '{:e}'.format(1234.5), '{:%}'.format(0.25), '{:_}'.format(1234567), '{:{}}'.format('a', 4), '{:b}'.format(5), '{:g}'.format(1e20), '{:.3}'.format(3.14159), '{:10.3f}|'.format(3.14159), '{:.3}'.format('abcdef')
'{}'.format()
1.5 | round, 2.5 | round, -1.5 | round, 2.675 | round(2), 42.55 | round(1, 'floor'), 42.51 | round(0, 'ceil'), 5 | round, 1234.5 | round(-2), 0.5 | round, 1.5 | round | int
'5' | int, '5.7' | int, 'a' | int, 'a' | int(7), '0x1f' | int(0, 16), 5.9 | int, '  12 ' | int, none | int, true | int, '1_000' | int, '-3' | int, '1e3' | int
'5.5' | float, 'a' | float, 'a' | float(1.5), 5 | float, 'inf' | float, '1e3' | float, none | float
l | sort, l | sort(reverse=true), names | sort, names | sort(case_sensitive=true), rows[:3] | sort(attribute='v') | map(attribute='v') | list, rows[:3] | sort(attribute='g,v') | map(attribute='v') | list
l | min, l | max, l | sum, names | min, names | max, [] | min is undefined, rows | sum(attribute='v'), rows | sum(attribute='v', start=10), names | max(case_sensitive=true)
[1, 'a'] | sort
l | first, l | last, [] | first is undefined, s | first, s | last, l | length, l | count, s | length, u | length
l | join, l | join(', '), rows[:2] | join('-', attribute='g'), 'abc' | join('.'), l | map('string') | join('+'), names | map('upper') | list, names | map('replace', 'a', 'x') | list
l | reverse | list, s | reverse, 'abc' | list, l | unique | list, ['a', 'A', 'b'] | unique | list, ['a', 'A'] | unique(case_sensitive=true) | list
l | select('odd') | list, l | reject('odd') | list, l | select('gt', 1) | list, rows | selectattr('g') | list | length, rows | selectattr('g', 'equalto', 'x') | map(attribute='v') | list, rows | rejectattr('g', 'defined') | list, [0, 1, '', 'a'] | select | list, rows | map(attribute='g', default='?') | list
rows | selectattr('g', 'defined') | groupby('g') | list | length
rows[:3] | groupby('g')
rows[:3] | groupby('v') | map(attribute='0') | list
rows[:3] | groupby('v') | map(attribute='grouper') | list, (rows[:3] | groupby('g') | first).grouper, (rows[:3] | groupby('g') | last).list | length, (rows[:3] | groupby('g') | first)['list'], (rows[:3] | groupby('g') | first).other is undefined
l | batch(2) | list, l | batch(2, 0) | list, l | slice(2) | list, [1, 2, 3, 4, 5] | slice(3, 'x') | list, l | batch(5, 'f') | list
'a\nb\n\nc' | indent, 'a\nb' | indent(2, true), 'a\n\nb' | indent(2, false, true), 'a\nb' | indent('> '), 'a\nb' | indent(width=1, first=true)
'foo bar baz qux' | truncate(9), 'foo bar baz qux' | truncate(9, true), 'foo bar baz qux' | truncate(11), 'foo bar baz qux' | truncate(9, false, '..', 0), 'short' | truncate
'a <b> & "c"' | escape
'x<' | e
'<' | safe
'a b' | wordcount, 'a b/c?é' | urlencode, s | string, 5 | string, 'a' | attr('upper') is defined
n | default('d'), missing | default('d'), e | default('d', true), missing | d, 0 | default(5, boolean=true), missing.x | default('z')
missing is defined, x is defined, x is number, f is float, x is integer, t is boolean, t is true, t is integer, n is none, s is string, d is mapping, l is sequence, d is sequence, s is iterable, x is iterable, x is callable, range is callable
x is odd, x is even, x is divisibleby 7, x is divisibleby(2), x is eq 7, x is ge 7, x is lt(3), x is in [7], 'a' is in 'abc', x is sameas 7, t is sameas true, 1 is sameas true, 'A' is upper, 'a' is lower, 'upper' is filter, 'odd' is test, 'nope' is filter
x is not odd, x is not none and t, not x is odd, x is string or t
x is nope
x | nope
range(3) | list, range(1, 4) | list, range(5, 0, -2) | list, range(0) | list, range(3)[1], 2 in range(3)
range(1000000) | list
dict(a=1, b=2), dict({'a': 1}, b=2), dict([('a', 1)]), dict(), dict.fromkeys(['a'], 1)
namespace(a=1).a
namespace(a=1)
namespace(_a=1)
(1, 2), (1), (), [1,], {'a': 1,}
'a' if x is odd else 'b', 'yes' if 'q' in s and not e else 'no'
x is odd and y is odd, x - y, x -y, x|string + 'a', (x|string) + 'a', 'a' ~ x|string ~ 'b', [1, 2]|length + 1
s|replace('quick', 'slow')|upper|length
messages|length > 1 and messages[-1].role == 'user'
messages|selectattr('role', 'equalto', 'user')|list|length, messages|map(attribute='role')|join(','), (messages|last).content|length
messages[1].content, messages[1]['content'].strip(), messages[4].content[0].text, messages[4]['content'][1]['type']
messages[0].content is string, messages[4].content is string, messages[4].content is iterable, messages[2].content is none, messages[0].tool_calls is defined, 'tool_calls' in messages[2], messages[2]['tool_calls'][0]['function']['name']
'_x' in d, d._x is undefined, s.__class__
s.__class__ is undefined
1_000, 0x1F, 0b11, 0o17, 1.5e3, 1e3
loop is undefined
'a b c'.split()|map('capitalize')|join(' '), 'k=v'.split('=')[1], s.split()[-1][0]|upper
[[1, 2], [3]]|map('sum')|list, [[1, 2], [3]]|map('length')|sum, [{'a': {'b': 1}}]|map(attribute='a.b')|list
1.0|int, 3|float, 1e3|int, '3'|float|int, 10|string|length, -5|abs, 3.7|abs
{}.x is undefined, [] is sequence, [] is mapping, none is none, none|string, none ~ '', true|string|lower
'a'|upper in ['A'], 'x' not in 'abc' and true, 1 == 1 and 2 == 2, 5 if 0 else 6
messages|selectattr('role', 'equalto', 'nobody') and 'true without items', (l|map('string')) and 1, ([]|unique) and 1, (d|items) and 1
l|map('string')|length
(l|map('string'))[1:]
l|reverse|length
l|select|last
l|map('string')|tojson
(l|select)[0] is undefined, l|select is iterable, l|select is sequence, l|select is string, l|select is mapping, l|reverse|first, l|reverse|reverse|list
l|select == l|select, 1 in l|select, 9 in l|select, (l|batch(2)|list), (l|slice(2)|list), d|items|list, u|reverse, l|reverse|map('string')|join
none|map('upper')|list, 0|select|list, false|rejectattr('a')|list, missing|map('upper')|list, none|selectattr('a', 'equalto', 1)|list|length
5|map('upper')|list
none|list
[[['a', ['b']]]].0.0.1.0, [[1, 2], [3, [4, 5]]].1.1.0, d.a.1, 1.5 + [0.5].0
[none, none]|sort, [{}, {}]|sort(attribute='q')|length, [{'a': 1}, {'a': 0}]|sort(attribute='a'), [[2, 1], [1, 2]]|sort
[none, 1]|sort
[[1], [1]]|unique|list
{(1, 2): 'x'}[(1, 2)], (1, 2) in {(1, 2): 1}
{(1, []): 1}
x[1:]
d[1:]
s|length|indent
'a\r\nb\x0bc\u2028d\n'|indent(2), 'a\n\n b\n'|indent(2, true, true), ''|indent(2, true), 'a\nb'|indent('> ', first=true)
7|round, big|round, -25|round(-1), 35|round(-1), 1234567890123456789012|round(-3), (-0.4)|round(0, 'ceil'), (-0.0)|round(1, 'floor')
-0.0 // 2, 0.0 // -2, -0.0 % 2.5, 5.0 % -5.0, 1e16 // 1.5, -7.5 // 2, 1e300 // 1e-5
10.0 ** 400
1e308 * 10
(-8) ** (1 / 3) is number
'%s' % missing, '%s|' % none, 'a' % [1], 'a' % {}, '%.5d|%.5x|%+.4o|%05.2i' % (3, 255, -8, -1), '%#x %#o %#.0f %#g' % (255, 8, 3.0, 1.0), '%c%c' % ('a', true)
'a' % 1
'a' % (1,)
'{:#06x}|{:#b}|{:#_b}|{:=+8d}|{:08,}|{:012,.2f}|{:_x}'.format(255, 5, 500, 7, 1234, 1234.5, 1048575)
'{:5}|{:d}|{!s:5}|{:.0}|{:.3}|{:#.0f}|{:#.0e}'.format(true, true, true, 0.0, 1234.5, 2, 3)
'{:.2d}'.format(1)
'{:,}'.format('a')
'{:+}'.format('a')
'{:=5}'.format('a')
'{:+c}'.format(65)
'ǆ ßx ﬁn ǅx'.title(), 'ǆ'.capitalize(), 'ßa'.capitalize(), 'ǆ'.upper(), 'Ǆ'.swapcase()
missing is callable, range is callable, s is callable, d.get is callable
x is odd if x else 2
x is odd is defined
x is odd in [true]
(x is odd) in [true], x is odd and y is odd or e, not x is odd, x is divisibleby 7 and 1
'9999999999999999999999999999999999999'|int, 'inf'|int, 'nan'|int(3), '1e30'|int
""".strip("\n").split("\n")

TEMPLATES = [
    "{% for m in messages %}{{ m.role }}:{{ loop.index }}/{{ loop.length }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index0 }}{{ m.role }}{{ loop.first }}{{ loop.revindex }}{% else %}none{% endfor %}",
    "{% for a in [] %}x{% else %}empty{% endfor %}{% for a in missing %}x{% else %}empty{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}",
    "{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }},{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }};{% endfor %}{{ loop is defined }}",
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{% endfor %}",
    "{% for i in l %}{% for j in l %}{{ loop.index }}{{ loop.depth }}{% endfor %}{{ loop.depth0 }}|{% endfor %}",
    "{% for x in [1, [2, [3]]] recursive %}{% if x is sequence %}[{{ loop(x) }}]{% else %}{{ x }}{% endif %}{% endfor %}",
    "{% set a = 1 %}{% if true %}{% set a = 2 %}{% endif %}{{ a }}{% for i in [1] %}{% set a = 3 %}{{ a }}{% endfor %}{{ a }}",
    "{% set ns = namespace(n=0, l=[]) %}{% for i in l %}{% set ns.n = ns.n + i %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.n }}{{ ns.l }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}",
    "{% set x %}a{{ 1 }}b{% endset %}{{ x|upper }}{% set y | upper %}abc{% endset %}{{ y }}",
    "{% set d.k = 5 %}",
    "{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}|{{ f(1, 3) }}|{{ f(1, c=5) }}|{{ f(b=1, a=0) }}|{{ f() }}",
    "{% macro f(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, k=3) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, k=2) }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro wrap(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call wrap('b') %}in{{ x }}{% endcall %}",
    "{% macro each(l) %}{% for i in l %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(i) each([1, 2]) %}({{ i }}){% endcall %}",
    "{% set g = 1 %}{% macro f() %}{{ g }}{% endmacro %}{% set g = 2 %}{{ f() }}",
    "{% macro f() %}{% set inner = 1 %}{{ inner }}{% endmacro %}{{ f() }}{{ inner is defined }}",
    "{% for i in [1] %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}",
    "{% filter upper %}abc{{ s }}{% endfilter %}{% filter replace('a', 'b') | upper %}banana{% endfilter %}",
    "{% with a = 1, b = x %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}",
    "{% block b %}in{% endblock %}{% block c %}{% set z = 1 %}{{ z }}{% endblock c %}",
    "{% raw %}{{ x }}{% if %}{% endraw %}|{% raw -%}  a  {%- endraw %}",
    "a {# comment {{ x }} #} b\n{# whole line #}\nc\n",
    "{% generation %}a{% set q = 1 %}{% endgeneration %}{{ q is defined }}",
    "{%- for m in messages -%}\n  {{- m.role -}}\n{%- endfor -%}\n",
    "  {% if x %}\n    a\n  {% else %}\n    b\n  {% endif %}\n  c\n\n",
    "{{ 'a\\\nb' }}",
    "line1\r\nline2\r{{ 'x\r\ny' }}",
    "{% if x > 5 and (y < 0 or false) %}A{% elif x %}B{% else %}C{% endif %}",
    "{% if missing %}A{% elif not missing %}B{% endif %}",
    "{{ raise_exception('no: ' ~ x) }}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set j = joiner('|') %}{{ j() }}{{ j() }}",
    "{{ {'a': {'b': {}}} }}{{ {} }}{{- {'x': 1}['x'] }}",
    "{{ '}}' }}{{ \"%}\" }}{% if '%}' == '%}' %}ok{% endif %}",
    "{% for m in messages %}{% set content = m.content %}{% if content is string %}{{ content | trim }}{% elif content is none %}-{% else %}{% for p in content %}{{ p.text | default(p.type) }}{% endfor %}{% endif %};{% endfor %}",
    "{% set messages = messages[1:] %}{{ messages | length }}{{ messages[0].role }}",
    "{%- set ns = namespace(found=false) -%}{%- for m in messages[::-1] -%}{%- if m.role == 'user' and not ns.found -%}{%- set ns.found = true -%}{{ loop.index0 }}{%- endif -%}{%- endfor -%}",
    "{{ bos_token if bos_token is defined else 'none' }}{{ tools is none }}{{ tools is not none }}{% if tools %}t{% endif %}",
    "{% for t in tools %}x{% endfor %}",
    "{{ tools | length }}",
    "{% macro json(v, level=0) %}{% if v is mapping %}{ {%- for k, w in v.items() %}{{ k }}:{{ json(w, level + 1) }}{{ ',' if not loop.last }}{% endfor -%} }{% elif v is string %}'{{ v }}'{% elif v is iterable %}[{% for w in v %}{{ json(w, level + 1) }}{{ ',' if not loop.last }}{% endfor %}]{% else %}{{ v }}{% endif %}{% endmacro %}{{ json(d) }}{{ json(messages[2]) }}",
    "{% set x = 5 %}{% set x = x + 1 %}{{ x }}",
    "{{ x }}{% set x = 1 %}{{ x }}",
    "{% for i in l %}{% set t = i %}{% endfor %}{{ t }}",
    "{% for i in l %}{% if loop.first %}{% set q = 1 %}{% endif %}{{ q is defined }}{% endfor %}",
    "{% set f = s.upper %}{{ f() }}{{ f is callable }}",
    "{% autoescape false %}{{ '<' }}{% endautoescape %}",
    "{% break %}",
    "{% for x in l %}{% endfor",
    "{{ x",
    "{% endif %}",
    "{% if x %}a",
    "{% unknown %}",
    "{{ x y }}",
    "{{ [1, }}",
    "{% set = 1 %}",
    "{{ 'a }}",
    "{% include 'x' %}",
    "{{ x.y.z }}",
    "{{ foo.bar }}",
    "{% do x %}",
    "{{ x if }}",
    "{% set true = 1 %}",
    "{% for true in l %}{% endfor %}",
    "{% macro f(a=1, b) %}{% endmacro %}",
    "{{ f(a=1, 2) }}",
    "{% set ns = namespace(a=1) %}{{ ns['a'] }}{{ ns.b is defined }}{% set ns.b = ns.a %}{{ ns.b }}",
    "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}",
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set sys = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set sys = false %}{% endif %}{% for m in loop_messages %}{% if loop.index0 == 0 and sys != false %}{{ sys.strip() }}{% endif %}{{ m.role }}{% endfor %}",
    "{%+ if true %}a{%+ endif +%}\nb",
    "   {%+ if true %}a{% endif %}   \nb",
    "\t{% if true %}a{% endif %}\n \n{{ 1 }}\n",
    "a\n\n{%- if true %}\n\nb{% endif -%}\n\nc",
    "{% if true -%}   \n   a   {%- endif %}",
    "{{- 1 -}}   {{ 2 }}",
    "{% set g = l | map('string') %}{{ g | list }}{{ g | list }}{{ g | first is undefined }}{% if g %}still true{% endif %}",
    "{% set g = l | select %}{{ g | first }}{{ g | first }}{{ 2 in g }}{{ g | list }}",
    "{% if messages | selectattr('role', 'equalto', 'nobody') %}yes{% else %}no{% endif %}",
    "{% for m in messages | reverse %}{{ m.role }}{{ loop.index }}/{{ loop.length }}{% endfor %}",
    "{% for k, v in d | items %}{{ k }}{{ loop.last }}{% else %}none{% endfor %}",
    "{% filter length %}abc{% endfilter %}",
    "{% macro inner(a) %}{{ a }}{% endmacro %}{% macro outer() %}{{ kwargs }}{{ inner(1, k=2) }}{% endmacro %}{{ outer() }}",
    "{% macro outer(a) %}{{ kwargs }}{{ varargs }}{{ caller is defined }}{% endmacro %}{{ outer(1, 2, k=3) }}",
    "{% macro inner() %}{{ varargs }}{% endmacro %}{% macro outer() %}{{ inner(1) }}{% endmacro %}{{ outer() }}{{ outer(1) }}",
    "{% for a in l %}{{ loop.changed(a > 1) }}{% for b in l %}{{ loop.changed(a) }}{% endfor %}{% endfor %}",
    "{#- a -#}  b  {#+ c +#}\nd",
    "{% for i in [1, 2] %}[{{ s }}]{% endfor %}{% set s = 'own' %}[{{ s }}]",
    "[{{ s }}]{% for i in [1, 2] %}[{{ s }}]{% endfor %}{% set s = 'own' %}[{{ s }}]",
    "{% macro m() %}[{{ s }}]{% endmacro %}{{ m() }}{% set s = 'own' %}{{ m() }}",
    "{% macro m() %}[{{ s }}]{% endmacro %}{{ m() }}{% if x == 7 %}{% set s = 'own' %}{% endif %}{{ m() }}",
    "{% macro m() %}[{{ s }}]{% endmacro %}{{ m() }}{% if x == 7 %}{% set s = 'a' %}{% elif y %}{% set s = 'b' %}{% else %}{% set s = 'c' %}{% endif %}{{ m() }}",
    "{% for i in [1, 2] %}{% for j in [1] %}[{{ s }}]{% endfor %}{% set s = i %}[{{ s }}]{% endfor %}[{{ s }}]",
    "{% set s %}[{{ s }}]{% endset %}{{ s }}{% with s = s ~ '!' %}{{ s }}{% endwith %}",
    "{% for i in [1, 2] if s %}{% filter upper %}[{{ s }}]{% endfilter %}{% set s = 'own' %}{% endfor %}",
    "{% for i in [1] %}{% set range = 'own' %}{% for j in [1] %}[{{ range }}]{% endfor %}{% endfor %}{{ range(2) | list }}",
]


def render(source):
    try:
        return _compile_jinja_template(source).render(**V)
    except (jinja2.exceptions.TemplateError, TypeError, ValueError, ZeroDivisionError, OverflowError, AttributeError, KeyError, IndexError, SyntaxError):
        return None


def main():
    sources = ["{{ " + expression + " }}" for expression in EXPRESSIONS] + TEMPLATES
    cases = [{"template": source, "expected": render(source)} for source in sources]
    versions = {"jinja2": jinja2.__version__, "transformers": transformers.__version__}
    print(json.dumps({**versions, "variables": V, "cases": cases}, indent=1, ensure_ascii=True))


main()
