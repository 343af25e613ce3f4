"""The style sheets of the widget and of the report, out of one set of rules."""

from __future__ import annotations

from typing import Final

from bedrock_batch_monitor.presentation import palette

# Everything stands under one class, for the widget is a part of a page of CloudWatch's.
_SHARED: Final = """
.bbm,.bbm *{box-sizing:border-box}
.bbm{container-type:inline-size;color:var(--ink);background:var(--page);text-align:left;
font:14px/1.45 "Amazon Ember",system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
"Liberation Sans",
sans-serif;font-variant-numeric:tabular-nums}
.bbm a{color:var(--link);text-decoration:underline;text-underline-offset:2px;
text-decoration-thickness:1px}
.bbm a:hover{text-decoration-thickness:2px}
.bbm :focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:3px}
.bbm .vh{position:absolute;width:1px;height:1px;margin:-1px;overflow:hidden;clip-path:inset(50%);
white-space:nowrap}
.bbm .soft,.bbm .under,.bbm .dot{color:var(--soft)}
.bbm .under{display:block;font-size:12px}
.bbm .id{font-family:ui-monospace,"SF Mono",Consolas,"Liberation Mono",monospace;font-size:11.5px}
.bbm .nowrap{white-space:nowrap}
.bbm .warn{color:var(--warn)}
.bbm .alarm{color:var(--alarm)}
.bbm .icon{width:12px;height:12px;flex:none;fill:var(--c);overflow:visible}
.bbm .ring{fill:none;stroke:var(--c);stroke-width:1.5px}
.bbm .status{display:inline-flex;align-items:center;gap:6px;color:var(--c);font-weight:600;
white-space:nowrap}
.bbm .s-other.status{white-space:normal;overflow-wrap:anywhere}
.bbm .badge{display:inline-block;margin:3px 4px 0 0;padding:0 6px;border:1px solid currentColor;
border-radius:9px;font-size:11.5px;font-weight:600;white-space:nowrap}
.bbm .bar{display:block;min-width:90px;border-radius:4px;overflow:hidden;margin:6px 0 3px}
.bbm .rest{fill:var(--track)}
.bbm .done{fill:var(--c)}
.bbm .counts{font-size:12px;color:var(--soft)}
.bbm .counts b{color:var(--ink)}
.bbm .chips{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0;padding:0;list-style:none}
.bbm .chips li{display:flex;align-items:baseline;gap:6px}
.bbm .chips .status{font-weight:400}
.bbm .chips .icon{align-self:center}
.bbm table{width:100%;font:inherit;color:inherit;border-collapse:collapse;margin:0;background:none}
.bbm th,.bbm td{padding:8px 16px 8px 0;border:0;border-bottom:1px solid var(--line);
vertical-align:top;text-align:left;font-weight:400;background:none;color:inherit}
.bbm thead th{padding-top:4px;padding-bottom:5px;font-size:12px;color:var(--soft);
white-space:nowrap}
.bbm th:last-child,.bbm td:last-child{padding-right:0}
.bbm .jobs{table-layout:fixed}
.bbm .jobs td{overflow-wrap:anywhere}
.bbm .jobs .name{font-weight:600}
.bbm .c-status{width:152px}
.bbm .c-job{width:27%}
.bbm .c-records{width:236px}
.bbm .c-ends{width:134px}
.bbm .c-times{width:136px}
.bbm .c-output{width:66px}
.bbm .nothing{margin:0;padding:14px 0;color:var(--soft)}
.bbm .more-jobs{margin:8px 0 0;color:var(--soft)}
@container (max-width:900px){
.bbm .jobs thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.bbm .jobs,.bbm .jobs tbody{display:block}
.bbm .jobs tr{display:grid;grid-template-columns:minmax(0,1fr) fit-content(55%);
gap:3px 14px;padding:11px 0;
border-bottom:1px solid var(--line)}
.bbm .jobs td{display:block;width:auto;padding:0;border:0}
.bbm .jobs td:empty{display:none}
.bbm .jobs .c-job{grid-column:1;grid-row:1}
.bbm .jobs .c-status{grid-column:2;grid-row:1;text-align:right}
.bbm .jobs .c-records{grid-column:1/-1}
.bbm .jobs .c-message{grid-column:1/-1}
.bbm .jobs .c-ends{grid-column:1}
.bbm .jobs .c-times{grid-column:2;text-align:right}
.bbm .jobs.active .c-ends:not(:empty)::before{content:"Ends "}
.bbm .jobs.active .c-times:not(:empty)::after{content:" in this status"}
.bbm .jobs.ended .c-ends:not(:empty)::before{content:"Ended "}
.bbm .jobs.ended .c-times:not(:empty)::before{content:"took "}
.bbm .badge{margin:3px 0 0 4px}
}
@media print{.bbm a{text-decoration:none;color:inherit}}
"""

_WIDGET: Final = """
.bbm{padding:4px 2px 10px}
.bbm .head{display:flex;flex-wrap:wrap;gap:4px 24px;align-items:baseline;
justify-content:space-between;margin:0 0 6px}
.bbm .when{color:var(--soft);font-size:12px}
.bbm h3{margin:16px 0 2px;font-size:13px;font-weight:700;color:var(--ink)}
.bbm .head+h3{margin-top:8px}
"""

_REPORT: Final = """
html{color-scheme:light dark;scroll-padding-top:44px}
body{margin:0;background:var(--page)}
.bbm{max-width:1240px;margin:0 auto;padding:28px 24px 64px}
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
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;
margin:22px 0 0;
padding:0;list-style:none}
.tiles li{display:flex;flex-direction:column;gap:1px;padding:13px 16px 12px;background:var(--panel);
border:1px solid var(--line);border-radius:8px}
.tiles.of-8{grid-template-columns:repeat(4,minmax(0,1fr))}
.tiles .what{font-size:12.5px;color:var(--soft)}
.tiles .value{font-size:25px;font-weight:650;line-height:1.25;letter-spacing:-.01em}
.tiles .note{font-size:12.5px;color:var(--soft)}
.split{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(400px,100%),1fr));
gap:12px 48px}
.scroll{overflow-x:auto}
.num{text-align:right!important;white-space:nowrap}
th[scope=row]{font-weight:600;overflow-wrap:anywhere}
.columns{position:relative;padding:6px 0 0}
.columns .bars{display:block;width:100%;height:150px;border-bottom:1px solid var(--soft)}
.columns rect{fill:var(--c)}
.columns .grid{stroke:var(--line);stroke-width:1px;vector-effect:non-scaling-stroke}
.scale{display:block;width:100%;height:18px;overflow:visible;fill:var(--soft);font-size:11.5px}
.peak{margin:0 0 2px;font-size:12px;color:var(--soft)}
.legend{margin:0 0 14px}
.axis{position:sticky;top:0;z-index:2;background:var(--page);border-bottom:1px solid var(--line);
display:grid;padding:8px 0 2px}
.axis,.lane summary{grid-template-columns:14px minmax(0,280px) minmax(0,1fr) 96px;column-gap:10px}
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
.track rect{fill:var(--c)}
.lane .more{padding:4px 0 14px 24px}
.lane dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 16px;margin:0;
font-size:13px}
.lane dt{color:var(--soft)}
.lane dd{margin:0;overflow-wrap:anywhere}
.lane ol{display:flex;flex-wrap:wrap;gap:2px 18px;margin:0;padding:0;list-style:none}
.group{border-bottom:1px solid var(--line)}
.group>summary{display:grid;grid-template-columns:8px 44px 172px minmax(0,1fr);gap:4px 16px;
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
.hist th{width:104px;white-space:nowrap;font-weight:400;color:var(--soft)}
.hist .num{width:52px}
.hist svg,.stack{display:block;width:100%;height:14px;border-radius:2px;overflow:hidden}
.hist rect{fill:var(--c)}
.stack rect{fill:var(--c);stroke:var(--page);stroke-width:1px}
.models .c-model{width:30%;min-width:150px}
.models .c-share{min-width:160px;vertical-align:middle}
.three{display:flex;flex-wrap:wrap;gap:2px 22px;margin:0 0 8px;padding:0;list-style:none;
color:var(--soft)}
.three b{color:var(--ink)}
footer{margin-top:48px;padding-top:14px;border-top:1px solid var(--line);color:var(--soft);
font-size:12.5px}
footer p{margin:0 0 4px;max-width:90ch}
@container (max-width:640px){
.axis{grid-template-columns:minmax(0,1fr)}
.axis .scale{grid-column:1}
.scale text:not(:nth-child(3n+1)),.scale text:last-child{display:none}
.lane summary{grid-template-columns:14px minmax(0,1fr) auto;row-gap:2px}
.lane>summary{padding:6px 0}
.lane .track{grid-column:1/-1;grid-row:2}
.lane .more{padding-left:0}
.lane dl{grid-template-columns:minmax(0,1fr)}
.lane dd{margin-bottom:6px}
.group>summary{grid-template-columns:8px auto minmax(0,1fr)}
.group .example{grid-column:1/-1}
.group .more{padding-left:0}
}
@media (max-width:640px){.bbm{padding:18px 14px 40px}h1{font-size:22px}
.tiles,.tiles.of-8{grid-template-columns:repeat(2,minmax(0,1fr));gap:8px}
.tiles .value{font-size:21px}
section{margin-top:34px}}
@media print{
@page{margin:14mm}
.bbm{max-width:none;padding:0;font-size:11px}
nav,.skip{display:none}
.axis{position:static}
section,.tiles li,.lane,.group,tr{break-inside:avoid}
section.long{break-inside:auto}
h2,h3{break-after:avoid}
.icon,rect,.tiles li{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""


def widget(*, dark: bool) -> str:
    """The widget's: CloudWatch says which theme its page has, whatever the browser prefers."""
    colours = palette.DARK if dark else palette.LIGHT
    return (
        f".bbm{{{palette.variables(colours)}}}"
        f"{palette.status_rules(dark=dark, within='.bbm')}{_SHARED}{_WIDGET}"
    )


def report() -> str:
    """The report's: as the browser prefers, and light on paper."""
    return (
        f":root{{{palette.variables(palette.LIGHT)}}}{palette.status_rules(dark=False)}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{palette.variables(palette.DARK)}}}"
        f"{palette.status_rules(dark=True)}}}{_SHARED}{_REPORT}"
    )
