"""The languages that a recipe or a command may name: by their code (ISO 639-1, some of 639-3) or English name."""

from __future__ import annotations

import re
from functools import cache

from llmkit.errors import nearest

_TABLE = """
aa Afar, ab Abkhazian, af Afrikaans, ak Akan, am Amharic, an Aragonese, ar Arabic, as Assamese, ast Asturian, av Avaric,
ay Aymara, az Azerbaijani, ba Bashkir, be Belarusian, bg Bulgarian, bi Bislama, bm Bambara, bn Bengali, bo Tibetan,
br Breton, bs Bosnian, ca Catalan, ce Chechen, ceb Cebuano, ch Chamorro, ckb Central Kurdish, co Corsican, cr Cree,
cs Czech, cu Church Slavic, cv Chuvash, cy Welsh, da Danish, de German, dsb Lower Sorbian, dv Divehi, dz Dzongkha, ee Ewe,
el Greek, en English, eo Esperanto, es Spanish, et Estonian, eu Basque, fa Persian, ff Fulah, fi Finnish, fil Filipino,
fj Fijian, fo Faroese, fr French, fy Western Frisian, ga Irish, gd Scottish Gaelic, gl Galician, gn Guarani,
gsw Swiss German, gu Gujarati, gv Manx, ha Hausa, haw Hawaiian, he Hebrew, hi Hindi, hmn Hmong, hr Croatian,
hsb Upper Sorbian, ht Haitian, hu Hungarian, hy Armenian, ia Interlingua, id Indonesian, ig Igbo, ii Sichuan Yi,
ik Inupiaq, io Ido, is Icelandic, it Italian, iu Inuktitut, ja Japanese, jv Javanese, ka Georgian, kg Kongo, ki Kikuyu,
kk Kazakh, kl Kalaallisut, km Khmer, kn Kannada, ko Korean, kr Kanuri, ks Kashmiri, ku Kurdish, kv Komi, kw Cornish,
ky Kyrgyz, la Latin, lb Luxembourgish, lg Ganda, li Limburgish, ln Lingala, lo Lao, lt Lithuanian, lu Luba-Katanga,
lv Latvian, mg Malagasy, mi Maori, mk Macedonian, ml Malayalam, mn Mongolian, mr Marathi, ms Malay, mt Maltese,
my Burmese, nb Norwegian Bokmål, nd North Ndebele, nds Low German, ne Nepali, nl Dutch, nn Norwegian Nynorsk,
no Norwegian, nr South Ndebele, nv Navajo, ny Nyanja, oc Occitan, oj Ojibwa, om Oromo, or Odia, os Ossetic, pa Punjabi,
pi Pali, pl Polish, ps Pashto, pt Portuguese, qu Quechua, rm Romansh, rn Rundi, ro Romanian, ru Russian, rw Kinyarwanda,
sa Sanskrit, sc Sardinian, scn Sicilian, sd Sindhi, se Northern Sami, sg Sango, si Sinhala, sk Slovak, sl Slovenian,
sm Samoan, sn Shona, so Somali, sq Albanian, sr Serbian, ss Swati, st Southern Sotho, su Sundanese, sv Swedish,
sw Swahili, szl Silesian, ta Tamil, te Telugu, tg Tajik, th Thai, ti Tigrinya, tk Turkmen, tl Tagalog, tn Tswana,
to Tongan, tr Turkish, ts Tsonga, tt Tatar, tw Twi, ty Tahitian, ug Uyghur, uk Ukrainian, ur Urdu, uz Uzbek, ve Venda,
vi Vietnamese, vo Volapük, wa Walloon, wo Wolof, xh Xhosa, yi Yiddish, yo Yoruba, yue Cantonese, za Zhuang, zh Chinese,
zu Zulu
"""

_MEANT = {
    "al": "sq", "at": "de", "bd": "bn", "chi": "zh", "cn": "zh", "cze": "cs", "cz": "cs", "deu": "de",
    "dk": "da", "dut": "nl", "ell": "el", "eng": "en", "fas": "fa", "fra": "fr", "fre": "fr", "gb": "en", "ge": "ka",
    "ger": "de", "gr": "el", "gre": "el", "heb": "he", "hin": "hi", "hk": "zh", "il": "he", "in": "id", "ind": "id",
    "ir": "fa", "ita": "it", "iw": "he", "ji": "yi", "jp": "ja", "jpn": "ja", "jw": "jv", "kor": "ko", "kz": "kk",
    "mo": "ro", "mx": "es", "nld": "nl", "nor": "no", "np": "ne", "per": "fa", "ph": "fil", "pk": "ur", "pol": "pl",
    "por": "pt", "ron": "ro", "rs": "sr", "rum": "ro", "rus": "ru", "spa": "es", "swe": "sv", "tur": "tr", "ua": "uk",
    "ukr": "uk", "us": "en", "vie": "vi", "vn": "vi", "zho": "zh",
    "castilian": "es", "deutsch": "de", "español": "es", "espanol": "es", "farsi": "fa", "flemish": "nl",
    "français": "fr", "francais": "fr", "italiano": "it", "mandarin": "zh", "nihongo": "ja", "português": "pt",
    "portugues": "pt", "simplified chinese": "zh", "traditional chinese": "zh",
}  # fmt: skip
"""Codes of countries, withdrawn codes, codes of ISO 639-2 and other names -> the language that is probably meant."""
_THREE_LETTERS = """
afr af, aka ak, als sq, amh am, ara ar, arb ar, asm as, aze az, azj az, bak ba, bam bm, bel be, ben bn, bod bo, bos bs, bre br,
bul bg, cat ca, ces cs, cmn zh, cym cy, dan da, deu de, dzo dz, ekk et, ell el, eng en, epo eo, est et, eus eu, ewe ee, fao fo,
fas fa, fij fj, fin fi, fra fr, fry fy, fuv ff, gaz om, gla gd, gle ga, glg gl, grn gn, guj gu, hat ht, hau ha, heb he, hin hi,
hrv hr, hun hu, hye hy, ibo ig, ind id, isl is, ita it, jav jv, jpn ja, kan kn, kas ks, kat ka, kaz kk, khk mn, khm km, kik ki,
kin rw, kir ky, kmr ku, knc kr, kon kg, kor ko, lao lo, lat la, lav lv, lim li, lin ln, lit lt, ltz lb, lug lg, lvs lv, mal ml,
mar mr, mkd mk, mlg mg, mlt mt, mon mn, mri mi, msa ms, mya my, nep ne, nld nl, nno nn, nob nb, nor no, npi ne, nya ny, oci oc,
ory or, pan pa, pbt ps, pes fa, plt mg, pol pl, por pt, pus ps, quy qu, ron ro, run rn, rus ru, sag sg, san sa, sin si, slk sk,
slv sl, sme se, smo sm, sna sn, snd sd, som so, sot st, spa es, sqi sq, srd sc, srp sr, ssw ss, sun su, swa sw, swe sv, swh sw,
tam ta, tat tt, tel te, tgk tg, tgl tl, tha th, tir ti, tsn tn, tso ts, tuk tk, tur tr, twi tw, uig ug, ukr uk, urd ur, uzb uz,
uzn uz, vie vi, wol wo, xho xh, ydd yi, yid yi, yor yo, zho zh, zsm ms, zul zu
"""
"""Codes of ISO 639-3, as NLLB and OPUS-MT have them -> those of ISO 639-1."""
_WITH_SCRIPT = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
"""NLLB's codes, such as `eng_Latn`."""
_COUNTRIES = {"ch": "de", "ee": "et", "kr": "ko", "se": "sv", "tw": "zh"}
"""Codes of a language that are better known as those of a country -> the language of that country."""


@cache
def _languages() -> dict[str, str]:
    """Code -> English name."""
    return dict(entry.strip().split(" ", 1) for entry in _TABLE.replace("\n", " ").split(","))


@cache
def _two_letters() -> dict[str, str]:
    """Code of three letters -> of two."""
    pairs = (entry.strip().split(" ", 1) for entry in _THREE_LETTERS.replace("\n", " ").split(","))
    return dict(pairs)


def code_of_model(code: str) -> str:
    """`en` for `en_XX`, `eng_Latn`, `eng` and `en`, the codes that models have; any other unchanged."""
    primary = re.split("[-_]", code)[0].casefold()
    return _two_letters().get(primary, primary)


def language_code(language: str) -> str:
    """The code of a language: `de` for `de`, `de-AT`, `de_DE`, `DE`, `deu_Latn` and `German`; `ace` for `ace_Latn`.

    Raises:
        ValueError: no language is known by that code or name.
    """
    if _WITH_SCRIPT.fullmatch(language):
        return code_of_model(language)
    languages = _languages()
    if re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*", language):
        primary = re.split("[-_]", language)[0].lower()
        if primary in languages:
            return primary
    by_name = {name.casefold(): code for code, name in languages.items()}
    if (code := by_name.get(language.strip().casefold())) is not None:
        return code
    meant = _MEANT.get(re.split("[-_]", language)[0].strip().casefold()) or _MEANT.get(language.strip().casefold())
    hint = f" Did you mean {meant!r} ({languages[meant]})?" if meant else nearest(language.strip().casefold(), by_name)
    raise ValueError(f"unknown language {language!r}.{hint} Write a code such as de, or a name such as German")


def likely_mistake(language: str) -> str | None:
    """`kr is Kanuri; Korean is ko`, where a code of a language is also the code of a country; None for all others."""
    meant = _COUNTRIES.get(language.casefold())
    if meant is None:
        return None
    return f"{language} is {english_name(language.casefold())}; {english_name(meant)} is {meant}"


def english_name(code: str) -> str:
    """`German` for `de`; a code that the table lacks unchanged."""
    return _languages().get(code, code)
