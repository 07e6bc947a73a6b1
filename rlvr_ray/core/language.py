"""Languages: normalised spelling, common words, and the language of a text.

A language is recognised by its script or by its most common words. Nothing is learned or guessed: a
text without such words ("Marie Curie, 1903") has no language.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from functools import lru_cache

#: Those whose negations, function words and numbers are known: ISO 639-1.
READABLE = frozenset({"en", "de", "fr", "es", "zh", "ar"})
# A text in Latin letters with as many words and no common word of a known language is in another.
_WORDS = 8
# Characters of a text that are looked at.
_LOOKED_AT = 4000


def _table(text: str) -> dict[str, frozenset[str]]:
    languages = re.split(r"\b([a-z]{2}):", text)[1:]
    return {
        code: frozenset(words.split())
        for code, words in zip(languages[::2], languages[1::2], strict=True)
    }


#: The words that deny, in one table: what stands after one is not said.
NEGATIONS = _table(
    """
    en: not no never cannot cant dont doesnt didnt isnt wasnt arent werent wont wouldnt couldnt
    shouldnt mustnt neednt hasnt havent hadnt aint without neither nor none nobody nothing nowhere
    hardly barely scarcely except excluding unable lack lacks lacked lacking
    de: nicht kein keine keinen keinem keiner keines nie niemals niemand niemanden nichts nirgends
    nirgendwo ohne weder noch außer
    fr: ne n pas jamais sans aucun aucune rien ni non nul nulle nullement sauf guère
    es: no nunca jamás jamas sin ni tampoco ningún ninguno ninguna nadie nada excepto salvo
    zh: 不 没 沒 無 无 非 未 别 別 勿 否 莫
    ar: لا ليس ليست ليسوا لم لن بدون دون غير عدم ولا ولم وليس بلا لست
    """
)

#: Words too common to be evidence: articles, prepositions, pronouns, auxiliaries.
FUNCTION = _table(
    """
    en: a an the this that these those there here it its he him his she her hers they them their
    theirs we us our ours you your yours one and or but so if then than as of at by for from in
    into on onto to with about during per via is are was were be been being am has have had having
    do does did doing can could may might must shall should will would which who whom whose what
    when where why how whether while because since also too very just such some any each both
    other another own same yes yeah yea yep nope ok okay well sure oh hi hello indeed however
    therefore thus hence although though even still quite rather really absolutely definitely
    certainly actually let lets eg ie etc s t re ve ll d m n
    de: der die das den dem des ein eine einen einem einer eines und oder aber ist sind war waren
    wird werden wurde wurden hat haben hatte hatten er sie es ihr ihre ihren ihm ihn wir uns man
    sich im in am an auf aus bei mit nach von vom vor zu zum zur für über unter durch um als wie
    was wer wo wann warum welche welcher welches wenn dass daß auch nur noch so sehr kann können
    muss müssen soll sollen darf viele dieser diese dieses gibt es ja nein
    fr: le la les l un une des du de d et ou mais est sont était étaient sera a ont avait avaient
    être avoir il elle ils elles on nous vous je ce cet cette ces c s se sa son ses leur leurs au
    aux à dans en par pour sur sous avec entre que qu qui quoi dont où quand comment pourquoi quel
    quelle quels quelles combien si plus très aussi comme y fut peut doit oui
    es: el la los las un una unos unas lo de del y e o u pero es son era eran fue fueron será ha
    han había está están ser estar tiene tienen él ella ellos se su sus le les al a en por para
    con entre sobre que qué quien quién cual cuál cuando cuándo donde dónde como cómo cuánto
    cuántos cuántas si más muy también este esta estos estas hay puede debe sí
    """
)
# Those of languages that are only told apart from the ones above, and letters of one language.
_OTHERS = _table(
    """
    it: il lo gli un una uno di del della dei e è sono non che per con nel nella da dal al alla si
    anche come più ha hanno era quale quando dove chi cosa questo questa i ed
    pt: o os as um uma do da dos das e é são não que em no na nos nas para por com ao se como mais
    foi tem qual quando onde quem isso este esta seu sua pelo pela
    nl: het een van en is zijn niet dat die de op te voor met aan er ook als bij door naar uit
    wordt werd heeft hebben hoe wat wie waar wanneer welke geen ik hij zij deze dit
    sv: och är inte en ett som på av för med till den det har var hade i att om från hur vad när
    vilken också eller de man
    da: og er ikke en et som på af for med til den det har var havde i at om fra hvordan hvad hvor
    hvornår hvilken også eller de man blev jeg
    pl: i w na do nie jest są się że to jak o po od za dla przez był było który która co kiedy
    gdzie jaki ile oraz
    cs: na do není je jsou se že to jak o po od za pro byl byla bylo který která co kdy kde jaký
    kolik ve ze
    tr: ve bir bu da de için ile değil olan olarak ne kadar nasıl nerede kim mi mı var yok daha
    çok en gibi sonra
    ro: și este sunt nu un o de la în cu pe din care ce când unde cum mai pentru a al ale fost
    fi: ja on ei se että oli ovat hän mutta kun mikä missä milloin kuinka myös joka tämä kuka
    hu: a az és nem egy hogy van volt is mi hol mikor ki milyen ez csak meg
    vi: là và của có không một các được trong cho với này đã những người khi ở gì
    id: dan yang di ke dari ini itu tidak adalah untuk dengan pada dalam oleh apa kapan mana
    """
)
_LETTERS = {"ß": "de", "ñ": "es", "œ": "fr", "ã": "pt", "õ": "pt", "ł": "pl", "ż": "pl", "ś": "pl"}
_LETTERS |= {"ę": "pl", "ą": "pl", "ř": "cs", "ů": "cs", "ě": "cs", "ğ": "tr", "ı": "tr"}
_LETTERS |= {"ş": "tr", "ț": "ro", "ș": "ro", "ă": "ro", "ő": "hu", "ű": "hu", "đ": "vi"}
_LETTERS |= {"ư": "vi", "ơ": "vi", "ø": "da", "û": "fr", "¿": "es", "¡": "es"}

# First and last letter of a script, and its commonest language.
_SCRIPTS = re.compile(
    r"(?P<ja>[\u3040-\u30ff])|(?P<zh>[\u3400-\u9fff])|(?P<ko>[\uac00-\ud7af\u1100-\u11ff])"
    r"|(?P<fa>[پچژگکی])|(?P<ar>[\u0600-\u06ff])|(?P<he>[\u0590-\u05ff])|(?P<ru>[\u0400-\u052f])"
    r"|(?P<el>[\u0370-\u03ff\u1f00-\u1fff])|(?P<hi>[\u0900-\u097f])|(?P<th>[\u0e00-\u0e7f])"
    r"|(?P<xx>[\u0530-\u058f\u0700-\u08ff\u0980-\u0dff\u0e80-\u10ff\u1200-\u1cff])"
)
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]++")
# Languages by common word.
_TELLING: dict[str, set[str]] = defaultdict(set)
for _words in (FUNCTION, NEGATIONS, _OTHERS, {"en": ("i", "my", "me", "myself")}):
    for _code in _words:
        for _word in _words[_code]:
            _TELLING[_word].add(_code)

_ALIKE = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-")
    | dict.fromkeys("\u2018\u2019", "'")
    | dict.fromkeys("\u201c\u201d", '"')
    | {"\u2044": "/", "\u066b": ".", "\u066c": ","}
)
_RAISED = re.compile("(?<=[0-9)])(?=[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻])(?<![⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻])")
_VULGAR = re.compile("(?<=[0-9¼½¾⅐-⅞])(?=[¼½¾⅐-⅞])")
_SUFFIXES = re.compile(r"(?:at(?:ions?|ing|ed|es?)|ings?|ions?|ed|ly|es|s)$")


def normalise(text: str) -> str:
    """NFKC with plain quotes, dashes and digits; an exponent and a fraction stay what they are."""
    if text.isascii():
        return text
    text = "".join(
        str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else c for c in text
    )
    text = _VULGAR.sub(" ", _RAISED.sub("^", text))
    return unicodedata.normalize("NFKC", text).translate(_ALIKE)


def stem(word: str) -> str:
    """A lower-case word without its commonest endings."""
    suffix = _SUFFIXES.search(word, 3)
    if suffix and not word.endswith("eed"):
        word = word[: suffix.start()]
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 2 and word.endswith("y") else word


@lru_cache(maxsize=1024)
def language(text: str) -> str | None:
    """The ISO 639-1 code of a text's language; None where nothing tells it.

    "xx" is one in another script, or in Latin letters without one common word of a known language.
    """
    text = text[:_LOOKED_AT]
    words = _LATIN.findall(text)
    if not text.isascii():
        scripts = Counter(match.lastgroup for match in _SCRIPTS.finditer(text))
        # A character of Chinese, Japanese or Korean says as much as a few letters.
        if 2 * scripts.total() > sum(map(len, words)):
            if scripts["ja"]:
                return "ja"
            if scripts["fa"]:
                return "fa"
            return scripts.most_common(1)[0][0]
    # A capital within a text makes another word of it: "World War", "Los Angeles".
    common = words if text.isupper() else [w for w in words[1:] if w[0].islower()] + words[:1]
    found = Counter(code for word in common for code in _TELLING.get(word.casefold(), ()))
    if not text.isascii():
        lower = {char for word in words if word[0].islower() for char in word}
        found.update({_LETTERS[char] for char in {*lower, *"¿¡"} & _LETTERS.keys() & set(text)})
    if not found:
        return "xx" if len(words) >= _WORDS else None
    most = max(found.values())
    likely = [code for code, count in found.items() if count == most]
    # "is" is English and Dutch: English then, but "no" may be Spanish.
    likely = ["en"] if READABLE.intersection(likely) == {"en"} else likely
    return likely[0] if len(likely) == 1 else None


def readable(text: str) -> bool:
    """Whether the rules can read a text: its language is one of ``READABLE``, or none at all."""
    return language(text) in {*READABLE, None}
