"""The style sheet of the report, on top of the rules that it shares with the widget."""

from __future__ import annotations

from typing import Final

from bedrock_batch_monitor.presentation import palette
from bedrock_batch_monitor.presentation.style import SHARED

_REPORT: Final = """
html{color-scheme:light dark;scroll-padding-top:44px}
body{margin:0;background:var(--page)}
.bbm{max-width:1480px;margin:0 auto;padding:28px 24px 64px}
.skip{position:absolute;left:12px;top:-60px;padding:8px 12px;background:var(--page);
color:var(--link);
z-index:3}
.skip:focus{top:8px}
h1{margin:0;font-size:26px;line-height:1.2;letter-spacing:-.01em}
h2{margin:0 0 4px;font-size:18px;line-height:1.3}
h3{margin:18px 0 6px;font-size:14px}
header p{margin:6px 0 0;color:var(--soft)}
nav ul{display:flex;flex-wrap:wrap;gap:4px 18px;margin:16px 0 0;padding:0;list-style:none}
section{margin-top:44px}
section>p{margin:0 0 12px;color:var(--soft);max-width:100ch}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,150px),1fr));gap:12px;
margin:22px 0 0;
padding:0;list-style:none}
.tiles li{display:flex;flex-direction:column;gap:1px;padding:13px 16px 12px;background:var(--panel);
border:1px solid var(--line);border-radius:8px}
.tiles .what{font-size:12.5px;color:var(--soft)}
.tiles .value{font-size:25px;font-weight:650;line-height:1.25;letter-spacing:-.01em}
.tiles .note{font-size:12.5px;color:var(--soft)}
.others>summary{padding:8px 0;cursor:pointer}
.split{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(400px,100%),1fr));
gap:12px 48px}
th[scope=row]{font-weight:600;overflow-wrap:anywhere}
.numbers,.numbers tbody{display:block}
.numbers thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.numbers tr{display:flex;flex-wrap:wrap;gap:2px 18px;padding:9px 0;
border-bottom:1px solid var(--line)}
.bbm .numbers tbody th,.bbm .numbers td{display:block;padding:0;border:0}
.numbers .c-model,.numbers .c-share{flex:1 1 100%}
.numbers .k{color:var(--soft);font-size:12px}
.num{white-space:nowrap}
.columns{padding:6px 0 0}
.plot{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:0 8px;padding-top:8px}
.plot .y{display:flex;flex-direction:column;justify-content:space-between;height:150px;
margin:-8px 0;height:166px;line-height:16px;font-size:11.5px;color:var(--soft);text-align:right}
.plot .scale{grid-column:2}
.columns .bars{display:block;width:100%;height:150px;border-bottom:1px solid var(--soft)}
.columns rect{fill:var(--c)}
.columns .grid{stroke:var(--line);stroke-width:1px;vector-effect:non-scaling-stroke}
.scale{display:block;width:100%;height:18px;overflow:visible;fill:var(--soft);font-size:11.5px}
.peak{margin:0 0 2px;font-size:12px;color:var(--soft)}
.legend{margin:0 0 14px}
.axis{position:sticky;top:0;z-index:2;background:var(--page);border-bottom:1px solid var(--line);
display:grid;padding:8px 0 2px}
.axis,.lane summary{grid-template-columns:14px minmax(0,30%) minmax(0,1fr) 7.5em;column-gap:10px}
.axis .scale{grid-column:3}
.day>summary{display:flex;flex-wrap:wrap;gap:2px 16px;align-items:baseline;padding:14px 0 6px;
cursor:pointer}
.day>summary b{font-size:14px}
.day>summary::before,.group>summary::before,.lane>summary::before{content:"";width:0;height:0;
border:4px solid transparent;border-left:6px solid var(--soft);border-right:0;flex:none}
.day[open]>summary::before,.group[open]>summary::before,.lane[open]>summary::before{
transform:rotate(90deg)}
.day>summary::before{align-self:center;margin-right:-6px}
.lane>summary::before{justify-self:center}
.group>summary::before{margin-top:6px}
.day>summary .chips{font-size:12.5px}
.lane{border-top:1px solid var(--line)}
.lane:first-of-type{border-top:0}
.lane>summary{display:grid;align-items:center;min-height:28px;padding:2px 0;cursor:pointer;
list-style:none}
.lane>summary::-webkit-details-marker{display:none}
.lane>summary:hover{background:var(--panel)}
.lane:target>summary{background:var(--panel);box-shadow:-3px 0 var(--link)}
.lane .who{display:flex;align-items:center;gap:8px;min-width:0;color:var(--c)}
.lane .who .label{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;color:var(--ink)}
.lane .took{text-align:right;font-size:12.5px;color:var(--soft);white-space:nowrap}
.track{display:block;width:100%;height:16px;border-radius:2px}
.track rect{fill:var(--c);stroke:var(--c);stroke-width:2px}
.lane .more{padding:4px 0 14px 24px}
.lane dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 16px;margin:0;
font-size:13px}
.lane dt{color:var(--soft)}
.lane dd{margin:0;overflow-wrap:anywhere}
.lane ol{display:flex;flex-wrap:wrap;gap:2px 18px;margin:0;padding:0;list-style:none}
.group{border-bottom:1px solid var(--line)}
.group>summary{display:grid;grid-template-columns:8px minmax(44px,max-content) 14em minmax(0,1fr);
gap:4px 16px;
padding:10px 0;
cursor:pointer;list-style:none}
.group>summary::-webkit-details-marker{display:none}
.group>summary:hover{background:var(--panel)}
.group .status{align-self:start;min-height:1.45em}
.group .many{font-size:18px;font-weight:650;line-height:1.15}
.group .example{overflow-wrap:anywhere}
.group .more{padding:0 0 14px 72px}
.group ul{margin:6px 0 0;padding:0;list-style:none;columns:22em;column-gap:32px;font-size:13px}
.group li{break-inside:avoid;overflow:hidden;text-overflow:ellipsis}
.hist td,.hist th{padding-top:3px;padding-bottom:3px;border:0;vertical-align:middle}
.hist th{width:8.5em;white-space:nowrap;font-weight:400;color:var(--soft)}
.bbm .hist .num{width:4em;text-align:right}
.hist svg,.stack{display:block;width:100%;height:14px;border-radius:2px;overflow:hidden}
.hist rect{fill:var(--c)}
.stack rect{fill:var(--c);stroke:var(--page);stroke-width:1px}
.three{display:flex;flex-wrap:wrap;gap:2px 22px;margin:0 0 8px;padding:0;list-style:none;
color:var(--soft)}
.three b{color:var(--ink)}
footer{margin-top:48px;padding-top:14px;border-top:1px solid var(--line);color:var(--soft);
font-size:12.5px}
footer p{margin:0 0 4px;max-width:90ch}
@container (min-width:380px){.tiles.of-8{grid-template-columns:repeat(2,minmax(0,1fr))}}
@container (min-width:860px){.tiles.of-8{grid-template-columns:repeat(4,minmax(0,1fr))}}
@container (min-width:900px){
.numbers{display:table}
.numbers thead{display:table-header-group;position:static;clip-path:none}
.numbers tbody{display:table-row-group}
.numbers tr{display:table-row}
.bbm .numbers tbody th,.bbm .numbers td{display:table-cell;padding:8px 16px 8px 0;
border-bottom:1px solid var(--line)}
.bbm .numbers :is(th,td):last-child{padding-right:0}
.numbers .c-model{min-width:12em}
.numbers .c-share{width:45%;vertical-align:middle}
.bbm .numbers .num{text-align:right}
.numbers .k{display:none}
}
@container (max-width:1000px){
.axis .scale text:not(:nth-child(2n+1)),.axis .scale .late{display:none}
}
@container (max-width:640px){
.plot .scale text:not(:nth-child(2n+1)),.plot .scale .late{display:none}
.axis{grid-template-columns:minmax(0,1fr)}
.axis .scale{grid-column:1}
.lane summary{grid-template-columns:14px minmax(0,1fr) auto;row-gap:2px}
.lane>summary{padding:6px 0}
.lane .track{grid-column:1/-1;grid-row:2}
.lane .more{padding-left:0}
.lane .who .label{white-space:normal;overflow-wrap:anywhere}
.lane dl{grid-template-columns:minmax(0,1fr)}
.lane dd{margin-bottom:6px}
.group>summary{grid-template-columns:8px auto minmax(0,1fr)}
.group .example{grid-column:1/-1}
.group .more{padding-left:0}
}
@media (max-width:640px){.bbm{padding:18px 14px 40px}h1{font-size:22px}
.tiles{gap:8px}
.tiles .value{font-size:21px}
section{margin-top:34px}}
@media print{
@page{margin:14mm}
.bbm{max-width:none;padding:0;font-size:11px}
nav,.skip{display:none}
.axis{position:static}
section,.tiles li,.lane,.group,.concerns li,tr{break-inside:avoid}
section.long{break-inside:auto}
h2,h3{break-after:avoid}
.icon,rect,.tiles li{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""


def style_sheet() -> str:
    """The style sheet of the report: in the theme that the browser prefers, and light in print."""
    return (
        f":root{{{palette.variables(palette.LIGHT)}}}{palette.status_rules(dark=False)}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{palette.variables(palette.DARK)}}}"
        f"{palette.status_rules(dark=True)}}}{SHARED}{_REPORT}"
    )
