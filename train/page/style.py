"""The style of a run's page: one column on a phone, and dark in dark mode."""

from __future__ import annotations

# The hues of Okabe and Ito, which most eyes can distinguish, on light and dark ground.
_LIGHT = "0072b2 d55e00 007a5a b0508a 8a6d00 3a8fc4 7a4a1e 444444".split()
_DARK = "56b4e9 ff9d5c 2fd0a0 e79ac8 f0e442 8ab4ff c9a27e dddddd".split()


def _colours(colours: list[str]) -> str:
  return " ".join(f"--run{n}: #{colour};" for n, colour in enumerate(colours))


STYLE = f"""
:root {{ --ground: #fff; --ink: #1b1b1b; --quiet: #666; --rule: #ddd;
  {_colours(_LIGHT)} }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ground: #151719; --ink: #e6e6e6; --quiet: #a0a0a0; --rule: #34383c;
    {_colours(_DARK)} }}
}}
body {{ margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif; }}
main {{ max-width: 76rem; margin: auto; padding: 0 1rem 3rem; }}
h1 {{ font-size: 1.4rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.15rem; margin: 2rem 0 .6rem; }}
h3 {{ font-size: 1rem; margin: 1.2rem 0 .4rem; }}
.legend {{ position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap;
  gap: .2rem 1.2rem; margin: 0; padding: .5rem 0; list-style: none;
  background: var(--ground); border-bottom: 1px solid var(--rule); }}
.legend svg {{ width: 1.5rem; height: .75rem; margin-right: .4rem;
  stroke: currentColor; stroke-width: 3; }}
.legend span {{ color: var(--ink); overflow-wrap: anywhere; }}
{" ".join(f".run{n} {{ color: var(--run{n}); }}" for n in range(len(_LIGHT)))}
.dashed {{ stroke-dasharray: 5 3; }}
.panels, .pictures {{ display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }}
figure {{ margin: 0; min-width: 0; }}
figcaption {{ font-size: .9rem; overflow-wrap: anywhere; }}
.panel svg {{ display: block; width: 100%; height: auto; }}
polyline {{ fill: none; stroke: currentColor; stroke-linejoin: round; }}
.line {{ stroke-width: 1.6; }}
.raw {{ stroke-width: 1; opacity: .3; }}
circle, rect {{ fill: currentColor; }}
.faint {{ opacity: .3; }}
.marks line {{ stroke: var(--ink); stroke-width: 1.4; stroke-dasharray: 4 3; }}
.marks text {{ fill: var(--ink); font-size: 10.5px; }}
.share svg {{ display: block; width: 6rem; height: .5rem; background: var(--rule); }}
.stills, .pairs {{ display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 10rem), 1fr)); }}
.pairs {{ grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }}
.pair {{ display: grid; grid-template-columns: 1fr 1fr; gap: .4rem; }}
.stills figcaption, .pair figcaption {{ font-size: .8rem; }}
.none {{ margin: 0; padding: 2rem 0; text-align: center; color: var(--quiet);
  border: 1px solid var(--rule); }}
.grid line {{ stroke: var(--rule); stroke-width: .7; }}
.grid text {{ fill: var(--quiet); font-size: 10.5px; }}
img {{ display: block; max-width: 100%; height: auto; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin: .4rem 0 1rem; font-size: .9rem; }}
caption {{ text-align: left; color: var(--quiet); padding-bottom: .3rem; }}
th, td {{ padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--rule); min-width: 4.5rem; max-width: 28rem;
  overflow-wrap: anywhere; }}
tbody th {{ font-weight: normal; min-width: 8rem; }}
tbody th[scope=rowgroup] {{ font-weight: bold; padding-top: .7rem; }}
td {{ font-variant-numeric: tabular-nums; }}
td.words {{ min-width: 16rem; }}
summary {{ cursor: pointer; }}
"""
