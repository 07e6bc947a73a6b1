"""Texts that a careless page would run, load or show as something else."""

#: What a text would do that ran is to set ``window.ran``, or to ask for this.
TRACE = "/seen-by-nobody"

TEXTS = {
    "script": "<script>window.ran = 1</script>",
    "script-end": "</script><script>window.ran = 1</script>",
    "handler": '<img src=x onerror="window.ran = 1">',
    "handler-in-attribute": '" autofocus onfocus="window.ran = 1" x="',
    "handler-unquoted": "<details open ontoggle=window.ran=1>",
    "link": "[here](javascript:window.ran=1) javascript:window.ran=1",
    "anchor": '<a href="javascript:window.ran=1">here</a>',
    "svg": '<svg><animate onbegin="window.ran=1" attributeName=x dur=1s></svg>',
    "svg-script": "<svg><script href='data:,window.ran=1'/></svg>",
    "math": "<math><mtext><table><mglyph><style><img src onerror=window.ran=1>",
    "frame": '<iframe srcdoc="<script>parent.ran = 1</script>"></iframe>',
    "object": f'<object data="{TRACE}"></object><embed src="{TRACE}">',
    "base": f'<base href="{TRACE}/"><meta http-equiv="refresh" content="0;url={TRACE}">',
    "form": f'<form action="{TRACE}"><button formaction="javascript:window.ran=1">go</form>',
    "style": f"<style>* {{ background: url({TRACE}) }}</style>",
    "css": f"color: red; background: url({TRACE}); }} body {{ display: none",
    "template": "${window.ran = 1} {{constructor.constructor('window.ran=1')()}} <%= 1 %> #{1}",
    "json": '"}], "contexts": [], "x": {"a": "\\u003cscript\\u003ewindow.ran=1\\u003c/script',
    "event": "\n\nevent: state\ndata: {}\n\nid: 9-9\nretry: 1\n\n",
    "entities": "&lt;img src=x onerror=window.ran=1&gt; &#60;b&#62; &nbsp;&amp;",
    "comment": "<!-- --!> <![CDATA[ <b>bold</b> ]]> <?php echo 1 ?>",
    "prototype": "__proto__ constructor hasOwnProperty toString",
    "bidi": "before \u202egnp.exe\u202c after \u2066isolated\u2069 \u05d0\u05d1\u05d2 \u0627\u0644",
    "invisible": "zero\u200bwidth\u200d\u2060joined\ufeff\u00adsoft",
    "controls": "bell\u0007 escape\u001b[31mred backspace\u0008 vertical\u000b",
    "combining": "Z" + "\u0351\u0343\u0321" * 40,
    "astral": "\U0001f9d1\u200d\U0001f52c \U000e0041\U000e0042 \U0001d54f",
    "long-word": "w" * 3000,
    "long-url": f"https://example.org/{'a' * 1500}?{'b=1&' * 300}",
    "separators": "one\u2028two\u2029three\u0085four",
}
