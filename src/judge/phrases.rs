//! The rules judge's phrases, in English, German, French, Spanish and Chinese.
//!
//! All are lower case, with straight apostrophes. docs/judging.md says how they are used.

/// Words that may stand before what counts.
#[rustfmt::skip]
pub const LEAD_INS: &[&str] = &[
    "hm", "hmm", "ok", "okay", "well", "oh", "ah", "sorry", "hey", "um", "uh", "please", "pls",
    "but", "and", "so", "yes", "yeah", "actually", "could you", "can you", "would you",
    "i think", "now", "bitte", "aber", "und", "also", "kannst du", "könntest du", "mais", "et",
    "peux-tu", "pouvez-vous", "s'il te plaît", "s'il vous plaît", "pero", "y", "por favor",
    "puedes", "podrías", "请", "但是", "可是", "嗯",
];

/// Praise that counts where it is a whole clause.
#[rustfmt::skip]
pub const PRAISE: &[&str] = &[
    "perfect", "great", "excellent", "awesome", "amazing", "brilliant", "wonderful",
    "fantastic", "exactly", "nice", "nice one", "good", "very good", "very nice", "good job",
    "great job", "well done", "good work", "nice work", "great work", "great answer",
    "good answer", "correct", "that's correct", "that is correct", "that's right",
    "that is right", "love it", "i love it", "love this", "that works", "that worked",
    "it works", "it works now", "it worked", "works now", "works great", "works perfectly",
    "works like a charm", "that did it", "that's it", "that's perfect", "that is perfect",
    "that's great", "this is great", "this is perfect", "looks good", "looks great", "lgtm",
    "good bot", "much better", "better", "that's better", "very helpful", "so helpful",
    "that helped", "that helps", "that's helpful", "super helpful", "spot on", "nailed it",
    "you nailed it", "ty", "tysm", "thx", "cheers", "super", "bingo", "well explained",
    "good one", "danke", "dankeschön", "danke schön", "danke dir", "perfekt", "toll", "genau",
    "genau so", "prima", "klasse", "sehr gut", "das passt", "passt perfekt", "gut gemacht",
    "das ist richtig", "wunderbar", "ausgezeichnet", "viel besser", "jetzt funktioniert es",
    "stimmt", "parfait", "génial", "très bien", "c'est parfait", "bravo", "bien joué",
    "c'est bien", "impeccable", "exactement", "beaucoup mieux", "c'est ça", "perfecto",
    "genial", "excelente", "muy bien", "así es", "bien hecho", "estupendo", "exacto",
    "mucho mejor", "me encanta", "funciona perfectamente", "太好了", "很好", "非常好", "完美", "太棒了",
    "不错", "对了", "正是我要的", "好极了", "没错",
];

/// Praise that counts at the start of a clause, whatever follows.
#[rustfmt::skip]
pub const THANKS: &[&str] = &[
    "thanks", "thank you", "many thanks", "exactly what i", "that's exactly what i",
    "this is exactly what i", "just what i needed", "just what i wanted", "vielen dank",
    "danke für", "danke dir", "herzlichen dank", "genau was ich", "merci", "gracias",
    "muchas gracias", "mil gracias", "谢谢", "多谢", "感谢", "谢啦",
];

/// What looks like praise and is none.
#[rustfmt::skip]
pub const NO_PRAISE: &[&str] = &[
    "thanks for nothing", "thanks in advance", "thank you in advance", "thanks to",
    "thank you note", "thank you email", "thank you letter", "thank you card",
    "thank you speech", "thank you message", "no thanks", "no thank you", "merci d'avance",
    "gracias de antemano", "danke im voraus", "vielen dank im voraus", "thanksgiving",
];

/// Complaints that count where they are a whole clause.
#[rustfmt::skip]
pub const BAD_WORDS: &[&str] = &[
    "terrible", "awful", "horrible", "useless", "bad", "garbage", "not good", "i hate it",
    "i hate this", "i hate that", "schlecht", "furchtbar", "nul", "mauvais", "mal", "malo",
    "没用", "很差",
];

/// Complaints and corrections; they count at the start of a clause, in no question.
#[rustfmt::skip]
pub const COMPLAINTS: &[&str] = &[
    "wrong", "incorrect", "nope", "that's wrong", "that is wrong", "that was wrong",
    "that's incorrect", "that is incorrect", "that's false", "that's not", "that is not",
    "that isn't", "that was not", "that wasn't", "this is wrong", "this is not", "this isn't",
    "it's wrong", "it is wrong", "it's not what", "your answer is wrong", "not like that",
    "not what i", "not quite", "not correct", "not right", "you should have", "you should've",
    "you shouldn't have", "you should not have", "you were supposed to", "you forgot",
    "you missed", "you didn't", "you did not", "you ignored", "you misunderstood",
    "you misread", "you got it wrong", "you got that wrong", "you made a mistake",
    "you are wrong", "you're wrong", "you left out", "you skipped", "i didn't ask",
    "i did not ask", "too long", "too short", "too verbose", "too wordy", "too formal",
    "too complicated", "too vague", "too technical", "that was too", "that's too",
    "that is too", "it's too", "it was too", "it is too", "this is too", "this was too",
    "way too", "much too", "far too", "still too", "your answer is too", "your answer was too",
    "your reply was too", "doesn't work", "didn't work", "does not work", "did not work",
    "not working", "that doesn't work", "that didn't work", "that does not work",
    "it doesn't work", "it didn't work", "this doesn't work", "still not", "still wrong",
    "still doesn't", "still fails", "still failing", "still broken", "it still fails",
    "it still doesn't", "that broke", "it broke", "bad answer", "bad bot", "this is useless",
    "this is terrible", "thanks for nothing", "that makes no sense", "makes no sense",
    "this makes no sense", "falsch", "das ist falsch", "das war falsch", "das stimmt nicht",
    "stimmt nicht", "nicht richtig", "das ist nicht", "das war nicht", "du hättest",
    "du hast vergessen", "du solltest doch", "ich habe gesagt", "ich hatte gefragt", "zu lang",
    "zu kurz", "das ist zu", "das war zu", "viel zu", "funktioniert nicht",
    "das funktioniert nicht", "das geht nicht", "geht nicht", "faux", "c'est faux",
    "ce n'est pas", "c'est pas", "pas ce que", "trop long", "trop court", "c'est trop",
    "c'était trop", "tu aurais dû", "vous auriez dû", "tu as oublié", "vous avez oublié",
    "j'ai demandé", "j'ai dit", "ça ne marche pas", "ça marche pas", "ne fonctionne pas",
    "tu t'es trompé", "incorrecto", "eso no", "no es lo que", "no es correcto", "está mal",
    "eso está mal", "te equivocas", "te equivocaste", "demasiado largo", "demasiado corto",
    "deberías haber", "debiste", "olvidaste", "te olvidaste", "te pedí", "no funciona", "不对",
    "错了", "错误", "不是这样", "不是我要的", "太长", "太短", "太啰嗦", "你应该", "你忘了", "我说的是", "我要的是", "答错了", "说错了",
    "你错了", "it's still wrong", "it's still broken", "it's still not", "it's still too",
    "i don't like it", "i don't like that", "i don't like this", "i don't like your",
];

/// What looks like a complaint and is none.
#[rustfmt::skip]
pub const NO_COMPLAINT: &[&str] = &[
    "that's not bad", "that is not bad", "that's not a problem", "that's not necessary",
    "that isn't necessary", "that's not important", "that's not needed", "that's not all",
    "this is not urgent", "this is not a", "this isn't a", "this isn't urgent", "not bad",
    "i wanted to thank", "i wanted to ask", "i wanted to know", "i wanted to say",
    "that's too bad", "that is too bad", "you didn't have to", "that's too kind",
    "it's too late", "das ist nicht schlimm", "ce n'est pas grave", "ce n'est pas mal",
    "c'est pas mal", "c'est pas grave", "that's not what i'm asking",
];

/// Requests to do it again or otherwise; they count at the start of a clause, before anything
/// that is no feedback.
#[rustfmt::skip]
pub const CHANGES: &[&str] = &[
    "redo", "do it again", "do that again", "try again", "try it again", "try once more",
    "one more time", "rephrase", "reword", "rewrite it", "rewrite that", "write it again",
    "start over", "shorter", "longer", "simpler", "shorten it", "shorten that", "make it",
    "make that", "more concise", "more concisely", "more detail", "more details",
    "less verbose", "be brief", "be concise", "be more", "be less", "keep it short",
    "keep it shorter", "keep it brief", "not so", "don't", "do not", "why did you",
    "why didn't you", "fix it", "fix that", "say it again", "in english please", "nochmal",
    "noch mal", "noch einmal", "versuch es nochmal", "versuche es noch einmal", "kürzer",
    "länger", "einfacher", "formuliere", "mach es", "nicht so", "hör auf", "refais",
    "recommence", "réessaie", "reformule", "plus court", "plus long", "plus simple", "fais-le",
    "arrête", "otra vez", "inténtalo", "intenta de nuevo", "hazlo de nuevo", "hazlo más",
    "reescríbelo", "reformula", "más corto", "más breve", "más largo", "más simple", "重新", "重写",
    "重来", "再试", "再来一次", "短一点", "简短一点", "长一点", "简单一点", "不要", "换个说法", "改一下", "stop doing",
    "stop using", "stop adding", "stop saying", "stop repeating", "stop writing", "stop giving",
    "stop it", "stop that", "stop with", "i said", "i told you", "i asked for",
    "i asked you to", "i wanted you", "i wanted it", "i wanted only", "i wanted just",
    "i meant", "ich meinte", "ich sagte", "ich wollte nur", "je voulais", "yo quería",
];

/// What looks like a request for a change and is none.
#[rustfmt::skip]
pub const NO_CHANGE: &[&str] = &[
    "don't forget", "don't worry", "do not worry", "don't you", "don't know", "don't remember",
    "do not forget", "make it a", "make that two", "be more specific about what", "不要紧", "不要担心",
    "stop by", "redo the",
];

/// Wishes for later; they count against the reply unless it was praised too.
#[rustfmt::skip]
pub const NEXT_TIMES: &[&str] = &[
    "next time", "from now on", "in future", "in the future please", "going forward",
    "nächstes mal", "beim nächsten mal", "ab jetzt", "in zukunft bitte", "la prochaine fois",
    "à partir de maintenant", "la próxima vez", "a partir de ahora", "下次", "以后请", "从现在起",
];

/// A bare no: it counts as the first clause, and only where the reply asked nothing.
#[rustfmt::skip]
pub const NOES: &[&str] = &[
    "no", "no no", "nein", "non", "no no no", "不", "不是",
];

/// What follows a no that is no correction.
#[rustfmt::skip]
pub const HARMLESS_AFTER_NO: &[&str] = &[
    "thanks", "thank you", "that's all", "that is all", "that's it", "that's fine", "that's ok",
    "that's okay", "that's great", "that's good", "i'm good", "i'm fine", "all good",
    "it's fine", "it's ok", "it's okay", "nothing else", "not now", "danke", "das war's",
    "das ist alles", "merci", "c'est tout", "c'est bon", "gracias", "eso es todo", "está bien",
    "谢谢", "没事",
];

/// How a clause begins that says how the reply should have been.
#[rustfmt::skip]
pub const DIRECTIVES: &[&str] = &[
    "you should have", "you should've", "you shouldn't have", "you should", "you need to",
    "you must", "you were supposed to", "use", "answer", "reply", "respond", "give", "write",
    "make it", "make that", "make the", "keep", "be", "put", "include", "add", "avoid", "stop",
    "don't", "do not", "never", "always", "only", "just", "without", "no more", "next time",
    "from now on", "in future", "going forward", "show", "list", "format", "shorter", "longer",
    "simpler", "more", "less", "fewer", "try to", "start with", "end with", "leave out", "skip",
    "remove", "return", "sort", "call", "read", "run", "check", "ask", "i want", "i wanted",
    "i asked for", "i asked you", "i need", "i prefer", "i'd prefer", "i'd like", "i meant",
    "i said", "it should", "it must", "the answer should", "shorten", "rewrite it",
    "rephrase it", "redo it", "translate", "quote", "cite", "mention", "round", "convert",
    "du hättest", "du solltest", "nutze", "verwende", "benutze", "antworte", "schreib",
    "schreibe", "gib", "mach", "mache", "kürzer", "länger", "nur", "ohne", "nächstes mal",
    "beim nächsten mal", "ab jetzt", "keine", "ich wollte", "ich meinte", "tu aurais dû",
    "vous auriez dû", "utilise", "utilisez", "réponds", "répondez", "écris", "écrivez", "donne",
    "donnez", "fais", "sans", "seulement", "la prochaine fois", "plus court", "je voulais",
    "n'utilise", "ne mets", "deberías haber", "deberías", "usa", "responde", "escribe", "dame",
    "haz", "hazlo", "sin", "solo", "sólo", "la próxima vez", "más corto", "más breve",
    "no uses", "quería", "yo quería", "你应该", "用", "不要", "别", "只", "下次", "以后", "请", "短一点", "简短",
    "我要", "直接",
];

/// Reactions that are praise.
#[rustfmt::skip]
pub const GOOD_SIGNS: &[&str] = &[
    "👍", "👏", "🙏", "❤", "🎉", "💯", "😍", "🥰", "🙌", "👌", "💪",
];

/// Reactions that are a complaint.
#[rustfmt::skip]
pub const BAD_SIGNS: &[&str] = &[
    "👎", "😡", "🤦", "😠", "🤬", "🙄", "🤮", "😤",
];
