"""Turns in many scripts, and the pages that they make: what the golden pages show.

    python tests/unicode_pages.py       # draw tests/golden/ again; then look at every file

The texts are article 1 of the Universal Declaration of Human Rights and everyday lines with
what goes wrong easily: numbers, brackets and Latin words among letters read from the right,
vowel signs, conjuncts, stacked marks, joined emoji.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from optimem.messages import parse
from optimem.modes import Tier
from optimem.renderers.atlas import load_atlas
from optimem.renderers.layout import PageBuilder, PageStyle
from optimem.renderers.page import page_pixels
from optimem.renderers.png import encode
from optimem.values import Entry, Page

GOLDEN = Path(__file__).parent / "golden"
TIERS = (Tier.BASE, Tier.SMALL)

TURNS = {
    "chinese": [
        "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
        "订单 A-1024 共 3,250.00 元（含税），2026年11月21日 送达；地址：北京市海淀区大街1号。",
        "繁體字：人人生而自由，在尊嚴和權利上一律平等。「你好」，世界！",
    ],
    "japanese": [
        "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
        "ご注文番号 A-1024、合計 ¥3,250（税込）。カタカナ、ﾊﾝｶｸ、ー「引用」、がぎぐ、ぱぴぷ。",
        "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    ],
    "korean": [
        "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
        "주문 번호 A-1024, 합계 3,250원(부가세 포함). 2026년 11월 21일 도착 예정입니다.",
        "인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.",
    ],
    "arabic": [
        "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا.",
        "رقم الطلب A-1024 والمبلغ 3,250.00 ريال (شامل الضريبة)، والموعد ٢١/١١/٢٠٢٦؟",
        "السَّلَامُ عَلَيْكُمْ وَرَحْمَةُ اللَّهِ. file.txt هو اسم الملف [1]. لا إله",
    ],
    "hebrew": [
        "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון.",
        'מספר ההזמנה A-1024, סכום 3,250.00 ש"ח (כולל מע"מ), תאריך 21/11/2026!',
        "בְּרֵאשִׁית בָּרָא אֱלֹהִים אֵת הַשָּׁמַיִם וְאֵת הָאָרֶץ. file.txt הוא שם הקובץ [1].",
    ],
    "hindi": [
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
        "ऑर्डर A-1024, कुल ₹३,२५० (कर सहित), तारीख 21/11/2026। क्षत्रिय, ज्ञान, कृष्ण, हिन्दी, श्री, द्वार।",
        "उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिये।",
    ],
    "thai": [
        "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
        "คำสั่งซื้อ A-1024 รวม 3,250.00 บาท (รวมภาษี) วันที่ ๒๑/๑๑/๒๕๖๙ น้ำ ที่ ผู้ใหญ่ กตัญญู ปั๊ม",
        "ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
    ],
    "emoji": [
        "Done ✅ 😀😂🎉🚀🔥 thanks 🙏🏽 and ❤️ to all 👍👎🏿",
        "family 👨‍👩‍👧‍👦 coder 🧑🏿‍💻 flags 🇩🇪🇯🇵🇧🇷 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏳️‍🌈 keys 1️⃣#️⃣ skin ✊🏻✊🏿",
        "e\u0301 x\u0302 X\u0302 a\u0328 g\u0308 Z\u0351\u036b\u0343 o\u20dd 5\u20e3 か\u3099 🦄☀️☀",
    ],
}


def lay_out(*turns: str) -> list[Page]:
    """Pages of turns by the user and the assistant."""
    atlas = load_atlas()
    builder = PageBuilder(atlas.cells, PageStyle().key(atlas.key))
    pages: list[Page] = []
    for position, content in enumerate(turns):
        role = ("user", "assistant")[position % 2]
        pages += builder.add(Entry(position, parse({"role": role, "content": content})))
    last = builder.flush()
    return [*pages, last] if last else pages


def golden_page(name: str, tier: Tier) -> npt.NDArray[np.uint8]:
    """The used rows of a language's page."""
    (page,) = lay_out(*TURNS[name])
    return page_pixels(page, tier, fonts=None)[: len(page.rows) * tier.cell[1]]


def digest(pixels: npt.NDArray[np.uint8]) -> str:
    """What is compared: the pixels, not a file's bytes."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()[:16]


def main() -> None:
    """Run as a script."""
    hashes = {}
    for name in TURNS:
        for tier in TIERS:
            pixels = golden_page(name, tier)
            hashes[f"{name} {tier.label}"] = digest(pixels)
            (GOLDEN / f"{name}-{tier.label}.png").write_bytes(encode(pixels))
    (GOLDEN / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")


if __name__ == "__main__":
    main()
