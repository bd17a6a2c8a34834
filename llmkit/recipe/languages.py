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


@cache
def _languages() -> dict[str, str]:
    """Code -> English name."""
    return dict(entry.strip().split(" ", 1) for entry in _TABLE.replace("\n", " ").split(","))


def language_code(language: str) -> str:
    """The code of a language: `de` for `de`, `de-AT`, `de_DE`, `DE` and `German`.

    Raises:
        ValueError: no language is known by that code or name.
    """
    languages = _languages()
    if re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*", language):
        primary = re.split("[-_]", language)[0].lower()
        if primary in languages:
            return primary
    by_name = {name.casefold(): code for code, name in languages.items()}
    if (code := by_name.get(language.strip().casefold())) is not None:
        return code
    hint = nearest(language.strip().casefold(), by_name)
    raise ValueError(f"unknown language {language!r}.{hint} Write a code such as de, or a name such as German")


def english_name(code: str) -> str:
    """`German` for `de`."""
    return _languages()[code]
