"""What T5's tokenizer is checked with: a vocabulary that SentencePiece trains on texts in the public domain, and texts.

Used by make_t5.py and tests/long/test_tokens.py."""
import io

import sentencepiece

PIECES = 384
# Carroll, Shakespeare, Lincoln, Melville, Austen, the King James Bible, Goethe, Verlaine, Basho.
CORPUS = """
Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or
twice she had peeped into the book her sister was reading, but it had no pictures or conversations in it, "and what is
the use of a book," thought Alice "without pictures or conversations?" So she was considering in her own mind (as well
as she could, for the hot day made her feel very sleepy and stupid), whether the pleasure of making a daisy-chain would
be worth the trouble of getting up and picking the daisies, when suddenly a White Rabbit with pink eyes ran close by her.
There was nothing so very remarkable in that; nor did Alice think it so very much out of the way to hear the Rabbit say
to itself, "Oh dear! Oh dear! I shall be late!" But when the Rabbit actually took a watch out of its waistcoat-pocket,
and looked at it, and then hurried on, Alice started to her feet, for it flashed across her mind that she had never
before seen a rabbit with either a waistcoat-pocket, or a watch to take out of it.
Shall I compare thee to a summer's day? Thou art more lovely and more temperate: Rough winds do shake the darling buds
of May, And summer's lease hath all too short a date: Sometime too hot the eye of heaven shines, And often is his gold
complexion dimm'd; And every fair from fair sometime declines, By chance or nature's changing course untrimm'd; But thy
eternal summer shall not fade Nor lose possession of that fair thou owest; Nor shall Death brag thou wander'st in his
shade, When in eternal lines to time thou growest: So long as men can breathe or eyes can see, So long lives this and
this gives life to thee.
Four score and seven years ago our fathers brought forth, upon this continent, a new nation, conceived in liberty, and
dedicated to the proposition that all men are created equal. Now we are engaged in a great civil war, testing whether
that nation, or any nation so conceived, and so dedicated, can long endure. We are met on a great battle-field of that
war. We have come to dedicate a portion of that field, as a final resting place for those who here gave their lives that
that nation might live. It is altogether fitting and proper that we should do this.
Call me Ishmael. Some years ago - never mind how long precisely - having little or no money in my purse, and nothing
particular to interest me on shore, I thought I would sail about a little and see the watery part of the world. It is a
way I have of driving off the spleen and regulating the circulation.
It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.
In the beginning God created the heaven and the earth. And the earth was without form, and void; and darkness was upon
the face of the deep. And the Spirit of God moved upon the face of the waters. And God said, Let there be light: and
there was light. And God saw the light, that it was good: and God divided the light from the darkness. And God called
the light Day, and the darkness he called Night. And the evening and the morning were the first day.
Wer reitet so spät durch Nacht und Wind? Es ist der Vater mit seinem Kind; er hat den Knaben wohl in dem Arm, er faßt
ihn sicher, er hält ihn warm. Mein Sohn, was birgst du so bang dein Gesicht? Siehst, Vater, du den Erlkönig nicht?
Les sanglots longs des violons de l'automne blessent mon cœur d'une langueur monotone. Tout suffocant et blême, quand
sonne l'heure, je me souviens des jours anciens et je pleure.
古池や 蛙飛びこむ 水の音。 閑さや 岩にしみ入る 蝉の声。
1 2 3 4 5 6 7 8 9 10 100 1867 1863 0.5 8K 4x4
"""
TEXTS = [
    "", " ", "\n", "a", "a red rabbit", "A White Rabbit", "  leading", "trailing   ", "two  spaces\tand\ttabs\n\nlines",
    "summer's day", "(detailed face:1.2), [blurry]", "8K, 1867", "Vater und Sohn, faßt", "cœur blême", "古池や蛙",
    "\u00a0x\u2003y\u3000z", "Ａｌｉｃｅ　１２３", "ﬁne ﬀ ĳ ½ ² Ⅷ", "e\u0301 vs é", "a\u0301\u0323", "zero\u200bwidth",
    "▁ ▁▁ x▁y", "\u2581", "🐱🐈‍⬛ 👩‍🚀", "мяу кошка", "고양이", "\x01\x07\x1b", "</s> <pad> <unk> <s>", "<extra_id_0>",
    "a" * 300, "the" * 100, "🐱" * 40, "x\u0300\u0301\u0302", "\ufeffstart", "soft\u00adhyphen", "～ 〜 ｡ ､ ﾊﾝｶｸ", "㍿ ㌔ ①",
    "don't I'll we're", "https://example.org/a?b=c", "~!@#$%^&*()_+", "\u0000".join(["a", "b"]),
]


def odd(rng):
    pieces = [
        lambda: rng.choice(TEXTS)[:60],
        lambda: rng.choice([" ", "  ", "   ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\x85", " \n", "\u2581"]),
        lambda: "".join(chr(rng.randrange(33, 127)) for _ in range(rng.randrange(1, 12))),
        lambda: "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABC") for _ in range(rng.randrange(1, 15))),
        lambda: str(rng.randrange(10 ** rng.randrange(1, 9))),
        lambda: chr(rng.choice([rng.randrange(0x80, 0x800), rng.randrange(0x900, 0x2fff), rng.randrange(0x3040, 0x9fff),
                                rng.randrange(0xac00, 0xd7a3), rng.randrange(0x1f300, 0x1faff), rng.randrange(0xf900, 0xfdff),
                                rng.randrange(0xff00, 0xffef), rng.randrange(0x300, 0x370), rng.randrange(0x10000, 0x1f000)])),
        lambda: rng.choice(CORPUS.split()),
        lambda: " " + rng.choice(CORPUS.split()),
        lambda: rng.choice([" the", " Photo", " of", "ing", " un", "ness", "tion", ", ", ". ", "; ", ": ", "(", ")", "-"]),
    ]
    return "".join(rng.choice(pieces)() for _ in range(rng.randrange(1, 20)))


def train(pieces=PIECES):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.replace("\n", " ").split(". ")),
        model_writer=out,
        vocab_size=pieces,
        model_type="unigram",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>",
        normalization_rule_name="nmt_nfkc",
        character_coverage=0.9995,
        num_threads=1,
        minloglevel=2,
    )
    return out.getvalue()
