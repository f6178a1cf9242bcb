"""Mails to the list for exercise 08-5, by one who has not seen the judge."""

from typing import Any

MAIL = """
To: kvm@vger.kernel.org
Subject: [RFC] Is the host's VERW effective while FB_CLEAR_DIS is set?

Hello,

vmx_update_fb_clear_dis() decides by CLEAR_CPU_BUF whether MSR_IA32_MCU_OPT_CTRL gets FB_CLEAR_DIS before a guest is entered.
Since e6ff1d61de51 VERW for MMIO Stale Data runs in the assembly stub, which is behind that write.

I executed Debian's 7.3.4 under an emulator that counts instructions: it writes the bit, then comes VERW. Nothing is known
from it about buffers, since an emulator has none.

The message DDWH24WOQG3F.1VS7MT0SKPWIL@google.com touches upon the condition, for the guest's part alone.

Does a VERW that the host executes clear the fill buffers while the bit is set, yes or no?

It is not my claim that some real machine leaks. A sentence from somebody at Intel would decide the matter.
"""
POINTS = {
    "question": "Does a VERW that the host executes clear the fill buffers while the bit is set, yes or no?",
    "where": "vmx_update_fb_clear_dis() decides by CLEAR_CPU_BUF",
    "shown": "it writes the bit, then comes VERW",
    "known": "The message DDWH24WOQG3F.1VS7MT0SKPWIL@google.com touches upon the condition",
    "not_claimed": "It is not my claim that some real machine leaks",
    "settles": "A sentence from somebody at Intel would decide the matter",
}


def mail(text: str = MAIL, **points: Any) -> dict[str, Any]:
    """Return an answer: a mail, and the rubric with some points changed."""
    return {"mail": text, "rubric": POINTS | points}


def without(*words: str) -> dict[str, Any]:
    """Return an answer whose mail lacks some words; the quotations stay true."""
    text, points = MAIL, dict(POINTS)
    for word in words:
        text = text.replace(word, "it")
        points = {point: said.replace(word, "it") for point, said in points.items()}
    return {"mail": text, "rubric": points}


WRONG = {
    "08-5": (
        without("e6ff1d61de51"), without("vmx_update_fb_clear_dis"), without("FB_CLEAR_DIS"), without("DDWH24WOQG3F.1VS7MT0SKPWIL@google.com"),
        mail(question=""), mail(question=POINTS["where"]), mail(known="What nobody wrote in this mail"), mail(settles=POINTS["settles"][:3]), mail(shown=None), mail(shown=5), mail(not_claimed=" \n "),
        mail(MAIL.replace("Subject: ", "About: ")), mail(MAIL * 4), mail("Subject: x\n\n" + " ".join(POINTS.values())), mail(MAIL.replace("\n\nHello", "\n\n" + "word " * 300 + "\n\nHello")), {"mail": MAIL, "rubric": {}},
        {"mail": MAIL}, {"rubric": POINTS}, {}, None, MAIL, [MAIL, POINTS], {"mail": None, "rubric": None}, {"mail": MAIL, "rubric": list(POINTS.values())}, dict.fromkeys(("mail", "rubric"), MAIL),
        {"mail": MAIL, "rubric": dict.fromkeys(POINTS, MAIL)}, {"mail": MAIL, "rubric": dict.fromkeys(POINTS, "e")}, {"mail": MAIL, "rubric": {key: POINTS[key] for key in list(POINTS)[:5]}}, mail(question="a"), mail(MAIL, where="it"), mail(question="."),
    )
}  # fmt: skip
RIGHT = {
    "08-5": (
        mail(), {"rubric": dict(reversed(POINTS.items())), "mail": MAIL.replace("\n", "\r\n")}, mail(MAIL.replace("Subject: [RFC] Is", "subject: Is").replace("To: kvm@vger.kernel.org\n", "")), mail(shown="it  writes the bit,\nthen comes VERW"), mail(MAIL.strip()), mail(where="Since e6ff1d61de51 VERW for MMIO Stale Data runs in the\nassembly stub"),
        mail(MAIL.replace("Subject: [RFC] Is the host's VERW effective while", "Subject: [RFC] Is the host's VERW effective\n while")),
    )
}  # fmt: skip
