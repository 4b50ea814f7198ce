"""Two hundred hostile strings: families of what could run, load or break, each in the surroundings that text may have.

One that runs in a page adds to `window.ran` or asks the address NOWHERE for something; none of it is specific to this
project. Every string holds its number as `#12#`, so that what is found names its origin.
"""

from __future__ import annotations

from itertools import product

NOWHERE = "http://127.0.0.1:9/hostile"
"""An address where nothing listens: a request there is seen by the browser, and answered by nobody."""

RUN = "(window.ran=window.ran||[]).push(1)"

FAMILIES = (
    f"<script>{RUN}</script>",
    f"</td></tr></table></pre></code></figcaption></textarea></title><script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f'"><img src={NOWHERE} onerror="{RUN}">',
    f"<img/src=x/onerror={RUN}>",
    f"<svg onload={RUN}><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"[click](javascript:{RUN})",
    f"![x]({NOWHERE})",
    f"<javascript:{RUN}>",
    f"<{NOWHERE}>",
    f"see {NOWHERE} now",
    f"[a]: javascript:{RUN} 't'\n\n[a]",
    f"[x](data:text/html,<script>opener.{RUN}</script>)",
    "<!-- --!> <!--> -->",
    "{{ 7*7 }} {% raw %} ${7*7} #{7*7}",
    "`code` ``` ~~~ ```\nout of the fence",
    f"```mermaid\ngraph TD;A[<img src=x onerror={RUN}>]\n```",
    "a | b || c \\| d \\\\| e |",
    "first\nsecond\n\n| a | b |\n| --- | --- |\n| c | d |",
    "one\r\ntwo\rthree\x0bfour\x0cfive\x85six\u2028seven\u2029eight",
    "nul \x00 bell \x07 back \x08\x08\x08 delete \x7f",
    "\x1b[2J\x1b[1;1H\x1b]0;title\x07\x1b]52;c;cm0gLXJm\x07\x9b31m",
    "user\u202etxt.exe\u202c \u2066iso\u2069 \u200f\u061c\u200b\ufeff",
    "\\input{/etc/passwd} \\write18{id} \\immediate\\openout \\csname end\\endcsname ^^5cinput",
    "[1ex] * & % # _ { } ~ ^ \\\\ \\end{tabular}",
    f"$\\text{{<img/src=x/onerror={RUN}>}}$ $\\href{{javascript:{RUN}}}{{x}}$",
    "$\\frac{1}{$ $$x$$ \\(y\\) \\begin{align}z\\end{align} $\\newcommand{\\a}{\\a\\a}\\a$",
    f"<style>@import '{NOWHERE}';*{{background:url({NOWHERE})}}</style><link rel=stylesheet href={NOWHERE}>",
    f"<p style='background:url({NOWHERE});position:fixed;inset:0'>over</p>",
    "\uff1cscript\uff1e\u2039img\u203a \u0430dmin \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "half \ud800 a pair \udfff",
    f"<base href={NOWHERE}><meta http-equiv=refresh content='0;url={NOWHERE}'><form action={NOWHERE}><input autofocus>",
    f"<math><mtext><mglyph><style><!--</style><img title='--><img src=x onerror={RUN}>'>",
    f"&lt;img src=x onerror={RUN}&gt; &#60;script&#62;{RUN}&#60;/script&#62;",
    '=HYPERLINK("http://127.0.0.1:9/","x")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "[bold red]markup[/] [link=file:///etc/passwd]x[/link]",
)

SURROUNDINGS = ("{}", "so the answer is {} because", "{0} {0}", "\\boxed{{{}}}", "x" * 3000 + " {}")

HOSTILE = tuple(
    f"#{i}#" + form.format(family) if i % 5 != 2 else form.format(family) + f"#{i}#"
    for i, (family, form) in enumerate(product(FAMILIES, SURROUNDINGS))
)
assert len(HOSTILE) == 200
