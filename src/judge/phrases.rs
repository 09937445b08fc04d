//! The rules judge's phrases: English, German, French, Spanish and Chinese, and the commonest of
//! Italian, Portuguese, Dutch, Polish, Russian, Japanese and Korean.
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
    "na", "ach", "ja", "tja", "oui", "bon", "sí", "ahora", "wait", "ha", "haha", "lol", "right",
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
    "that was it", "that's the one", "works", "worked", "it's perfect", "it is perfect",
    "looks perfect", "beautiful", "lovely", "splendid", "superb", "terrific", "neat", "cool",
    "very cool", "sweet", "good to know", "makes sense", "that makes sense", "got it",
    "much clearer", "crystal clear", "well put", "all good", "it passes", "it passes now",
    "all green", "hervorragend", "großartig", "sehr schön", "schön", "passt", "passt genau",
    "das war's", "das funktioniert", "jetzt geht es", "jetzt geht's", "gute arbeit",
    "super gemacht", "top", "nickel", "superbe", "magnifique", "excellent travail", "ça marche",
    "ça fonctionne", "c'est exact", "muy bueno", "buenísimo", "fantástico", "maravilloso",
    "clarísimo", "perfecta", "funciona", "eso es", "buen trabajo", "perfetto", "ottimo",
    "benissimo", "bravissimo", "bellissima", "bellissimo", "eccellente", "esatto", "funziona",
    "perfeito", "ótimo", "excelente trabalho", "muito bom", "muito bem", "isso mesmo",
    "funciona bem", "uitstekend", "heel goed", "goed zo", "perfect zo", "prachtig", "świetnie",
    "doskonale", "idealnie", "bardzo dobrze", "отлично", "супер", "прекрасно", "идеально", "完璧です",
    "完璧", "最高です", "素晴らしい", "いいですね", "완벽해요", "완벽합니다", "좋아요", "太好", "很棒", "真棒",
];

/// Praise that counts at the start of a clause, whatever follows.
#[rustfmt::skip]
pub const THANKS: &[&str] = &[
    "thanks", "thank you", "many thanks", "exactly what i", "that's exactly what i",
    "this is exactly what i", "just what i needed", "just what i wanted", "vielen dank",
    "danke für", "danke dir", "herzlichen dank", "genau was ich", "merci", "gracias",
    "muchas gracias", "mil gracias", "谢谢", "多谢", "感谢", "谢啦",
    "cheers mate", "much appreciated", "really appreciate it", "i appreciate it", "appreciate it",
    "thx a lot", "thanx", "tausend dank", "danke schön", "danke sehr", "danke", "grazie",
    "grazie mille", "mille grazie", "obrigado", "obrigada", "muito obrigado", "muito obrigada",
    "bedankt", "dank je", "dank u", "dankjewel", "dzięki", "dziękuję", "спасибо", "ありがとう",
    "助かりました", "助かった", "감사합니다", "감사해요", "고마워", "고맙습니다", "谢了",
    "i thank you",
];

/// What looks like praise and is none.
#[rustfmt::skip]
pub const NO_PRAISE: &[&str] = &[
    "thanks for nothing", "thanks in advance", "thank you in advance", "thanks to",
    "thank you note", "thank you email", "thank you letter", "thank you card",
    "thank you speech", "thank you message", "no thanks", "no thank you", "merci d'avance",
    "gracias de antemano", "danke im voraus", "vielen dank im voraus", "thanksgiving",
    "thanks anyway", "thanks but no", "no merci", "danke nein", "danke trotzdem", "nein danke",
    "gracias a", "grazie a", "obrigado por nada", "merci quand même",
];

/// How a clause begins that may follow praise; other statements after it make it doubtful.
#[rustfmt::skip]
pub const AFTER_PRAISE: &[&str] = &[
    "now", "next", "then", "also", "let's", "let us", "can you", "could you", "would you",
    "will you", "what", "how", "where", "when", "who", "which", "why", "do", "does", "is",
    "are", "i'll",
    "i will", "i'm", "i am", "i've", "i have", "i can", "i could", "we'll", "we will", "we're",
    "we can", "we have", "that's", "that is", "this is", "it", "works", "merging", "merged",
    "saved", "sent", "published", "shipped", "keep", "keeping", "go on", "go ahead", "continue",
    "move on", "moving on", "just", "for", "with", "add", "write", "translate", "show", "give",
    "make", "send", "put", "run", "jetzt", "dann", "ich", "wir", "das", "nun", "weiter", "mach",
    "maintenant", "je", "on", "c'est", "ensuite", "puis", "voy", "es", "luego", "ponme", "现在",
    "然后", "接下来", "那", "再", "ora", "poi", "agora", "depois", "nu", "dan", "teraz", "теперь",
    "次", "이제",
];

/// How a clause begins that may follow thanks, besides.
#[rustfmt::skip]
pub const AFTER_THANKS: &[&str] = &[
    "you", "your", "have a", "bye", "goodbye", "see you", "talk", "good night", "cheers", "so",
    "very", "really", "this helps", "that helps", "helps", "all", "my", "got", "will", "much",
    "a lot", "again", "everyone", "everything", "du", "sie", "dir", "schönen", "tschüss", "tu",
    "vous", "bonne", "à", "tú", "usted", "hasta", "que tengas", "buona", "ciao", "tchau", "até",
    "please", "translate", "summarize", "compare", "explain", "tell me", "find", "create", "book",
    "check", "set", "start", "open", "remind", "calculate", "list", "delete", "rename", "change",
    "the", "they", "she", "he", "here", "another", "one more", "unrelated", "separate", "on to",
];

/// What before a word of praise makes it doubtful.
#[rustfmt::skip]
pub const SIGHS: &[&str] = &["oh ", "ah ", "na ", "wow ", "well ", "ach ", "ha ", "haha "];

/// A word on which praise turns, at the start of a clause.
#[rustfmt::skip]
pub const CONTRARY: &[&str] = &[
    "but", "however", "although", "though", "except", "only that", "yet", "unfortunately", "aber",
    "allerdings", "jedoch", "leider", "mais", "cependant", "malheureusement", "pero",
    "sin embargo", "lamentablemente", "ma", "però", "purtroppo", "mas", "porém", "infelizmente",
    "maar", "helaas", "ale", "jednak", "niestety", "но", "однако", "でも", "しかし", "ただ", "하지만",
    "그런데", "但", "但是", "不过", "可是", "still",
];

/// What makes praise and thanks doubtful, anywhere in the message.
#[rustfmt::skip]
pub const DOUBTS: &[&str] = &[
    "anyway", "never mind", "nevermind", "forget it", "forget about it", "myself", "yeah right",
    "as if", "five stars", "slow clap", "just great", "oh great", "not.", "for nothing",
    "trotzdem", "vergiss es", "quand même", "laisse tomber", "de todos modos", "olvídalo",
    "lascia perdere", "deixa pra lá", "laat maar", "算了", "🙃", "😒", "🙄", "😏", "🤡", "waste",
    "wasting", "worse", "nobody", "wall of text", "for trying", "obvious", "no worries",
    "i'll ask", "i asked", "oh wonderful", "oh perfect", "oh nice", "oh good", "oh super",
    "oh fantastic", "oh brilliant", "ah bravo", "ah super", "na toll", "na super", "na wunderbar",
    "na prima", "na klasse", "wow, ",
];

/// What, inside a message of praise, turns it: as words.
#[rustfmt::skip]
pub const NEGATIONS: &[&str] = &[
    "no", "not", "nothing", "never", "none", "kein", "keine", "keinen", "nicht", "nichts", "nie",
    "pas", "rien", "jamais", "nada", "nunca", "non", "não", "niet", "geen", "не",
];

/// A slip of the user's own, anywhere in the message: then nothing is said of the reply.
#[rustfmt::skip]
pub const OWN_SLIPS: &[&str] = &[
    "my typo", "my mistake", "my bad", "my fault", "my error", "i gave you the wrong",
    "i meant to write", "i meant to say", "i meant to type", "i mistyped", "typo on my",
    "i was wrong", "mein fehler", "ich habe mich vertippt", "ich hab mich vertippt", "mon erreur",
    "ma faute", "mi error", "culpa mía", "errore mio", "erro meu", "mijn fout", "mój błąd",
    "моя ошибка", "私の間違い", "我的错", "我写错", "我打错", "oh wait", "wait that's", "wait, that's",
    "wrong chat", "wrong window", "wrong tab", "fault of yours", "not your fault", "no fault",
    "voice input", "wasn't for you", "not for you", "was not for you", "wasn't meant",
    "didn't mean you", "talking to my", "i misread", "i had misread", "i read it wrong",
    "i had read it", "nicht deine schuld", "nicht ihre schuld", "pas de ta faute",
    "pas votre faute", "no es tu culpa", "no es culpa", "non è colpa", "não é culpa",
    "war nicht für dich", "hab mich verlesen", "j'ai mal lu", "leí mal", "我看错", "見間違",
];

/// What shows that a message speaks to whoever judges, or of that.
#[rustfmt::skip]
pub const TO_A_JUDGE: &[&str] = &[
    "\\boxed", "judge", "verdict", "grader", "reward model", "evaluator", "score this",
    "rate this", "ignore all previous", "ignore previous", "ignore the above", "system prompt",
];

/// What shows that a request wants to find something out: its failure may be the answer.
#[rustfmt::skip]
pub const PROBES: &[&str] = &[
    "check", "whether", "verify", "reproduce", "confirm", "make sure", "gone", "exist",
    "should fail", "expect", "see if", "is there", "are there", "does it", "still", "prüf", " ob ",
    "gibt es", "noch", "vérifi", "existe", "comprueba", "verifica", "检查", "是否", "確認", "테스트",
    "test", "what happens", "happens when",
];

/// What shows that a wish for later is praise of what is.
#[rustfmt::skip]
pub const KEEP_ON: &[&str] = &[
    "keep using", "keep doing", "keep it up", "keep that", "keep this", "keep the", "continue",
    "stay with", "weiter so", "genau so", "continue comme", "sigue así", "继续",
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
    "you missed", "you didn't", "you did not", "you ignored", "you misunderstood", "you misread",
    "you got it wrong", "you got that wrong", "you made a mistake", "you are wrong",
    "you're wrong", "you left out", "you skipped", "i didn't ask", "i did not ask", "too long",
    "too short", "too verbose", "too wordy", "too formal", "too complicated", "too vague",
    "too technical", "that was too", "that's too", "that is too", "it's too", "it was too",
    "it is too", "this is too", "this was too", "way too", "much too", "far too", "still too",
    "your answer is too", "your answer was too", "your reply was too", "doesn't work",
    "didn't work", "does not work", "did not work", "not working", "that doesn't work",
    "that didn't work", "that does not work", "it doesn't work", "it didn't work",
    "this doesn't work", "still not", "still wrong", "still doesn't", "still fails",
    "still failing", "still broken", "it still fails", "it still doesn't", "that broke",
    "it broke", "bad answer", "bad bot", "this is useless", "this is terrible",
    "thanks for nothing", "that makes no sense", "makes no sense", "this makes no sense",
    "falsch", "das ist falsch", "das war falsch", "das stimmt nicht", "stimmt nicht",
    "nicht richtig", "das ist nicht", "das war nicht", "du hättest", "du hast vergessen",
    "du solltest doch", "ich habe gesagt", "ich hatte gefragt", "zu lang", "zu kurz",
    "das ist zu", "das war zu", "viel zu", "funktioniert nicht", "das funktioniert nicht",
    "das geht nicht", "geht nicht", "faux", "c'est faux", "ce n'est pas", "c'est pas",
    "pas ce que", "trop long", "trop court", "c'est trop", "c'était trop", "tu aurais dû",
    "vous auriez dû", "tu as oublié", "vous avez oublié", "j'ai demandé", "j'ai dit",
    "ça ne marche pas", "ça marche pas", "ne fonctionne pas", "tu t'es trompé", "incorrecto",
    "eso no", "no es lo que", "no es correcto", "está mal", "eso está mal", "te equivocas",
    "te equivocaste", "demasiado largo", "demasiado corto", "deberías haber", "debiste",
    "olvidaste", "te olvidaste", "te pedí", "no funciona", "不对", "错了", "错误", "不是这样", "不是我要的",
    "太长", "太短", "太啰嗦", "你应该", "你忘了", "我说的是", "我要的是", "答错了", "说错了", "你错了", "it's still wrong",
    "it's still broken", "it's still not", "it's still too", "i don't like it",
    "i don't like that", "i don't like this", "i don't like your", "that's not true", "not true",
    "that's untrue", "that can't be", "that cannot be", "this can't be", "you can't just",
    "you cannot just", "you dropped", "you stopped", "you changed", "you broke", "you deleted",
    "you threw", "you printed", "you repeated", "you keep", "you're stuck", "you are stuck",
    "you invented", "you made that up", "you made up", "you hallucinated", "you mixed up",
    "you confused", "you swapped", "you cut off", "you left", "you lost", "you still",
    "you again", "you put", "you misspelled", "you answered", "doesn't compile",
    "does not compile", "it crashes", "still crashes", "same error", "still the same",
    "nothing changed", "as i said", "like i said", "as i told you", "i already told you",
    "i already said", "i don't want", "i didn't want", "i did not want", "i never asked",
    "i never said", "nobody asked", "nobody wants", "that isn't what", "that makes it worse",
    "now it's worse", "it got worse", "you need to", "you have to", "you must",
    "you're supposed to", "you are supposed to", "nicht wahr ist", "das kann nicht",
    "das ergibt keinen sinn", "du hast", "du sollst", "du solltest", "du musst", "ich sagte doch",
    "ich hab doch", "ich habe doch", "wie gesagt", "immer noch", "leider falsch", "es fehlt",
    "da fehlt", "das ist doch kein", "c'est incorrect", "c'est inexact", "ce n'est", "il manque",
    "j'avais dit", "j'avais demandé", "comme je l'ai dit", "toujours pas", "tu dois",
    "vous devez", "tu n'as pas", "vous n'avez pas", "es incorrecto", "no es", "no está",
    "eso no es", "falta", "faltan", "te dije", "ya te dije", "como te dije", "sigue sin",
    "tienes que", "no te pedí", "has olvidado", "sbagliato", "è sbagliato", "errato", "non è",
    "non va bene", "non funziona", "troppo lungo", "troppo corto", "hai dimenticato",
    "hai sbagliato", "manca", "avevo chiesto", "avevo detto", "ti avevo", "errado", "está errado",
    "não é", "não está", "não funciona", "não pedi", "não foi", "muito longo", "muito curto",
    "falta o", "falta a", "esqueceu", "você esqueceu", "eu pedi", "fout", "dat is fout",
    "dat klopt niet", "klopt niet", "werkt niet", "te lang", "te kort", "je bent vergeten",
    "ik vroeg", "źle", "to nieprawda", "nie działa", "nie to", "za długie", "za długi",
    "za krótkie", "prosiłem", "prosiłam", "zapomniałeś", "неправильно", "неверно", "это неверно",
    "это не", "не работает", "слишком длинно", "слишком коротко", "ты забыл", "вы забыли",
    "я просил", "я просила", "違います", "違う", "違いますよ", "間違い", "間違って", "そうじゃな", "そうではな", "長すぎ", "短すぎ",
    "書き直し", "やり直し", "と言いました", "틀렸", "틀린", "아니요", "아닙니다", "아니에요", "너무 길", "너무 짧", "다시 써", "다시 해",
    "고쳐", "잘못", "不正确", "不是的", "这不是", "这也叫", "还是不对", "还是错", "你没有", "你漏", "太复杂", "太简单", "我说过",
    "我要求", "我没有要", "没让你",
];

/// What looks like a complaint and is none.
#[rustfmt::skip]
pub const NO_COMPLAINT: &[&str] = &[
    "that's not bad", "that is not bad", "that's not a problem", "that's not necessary",
    "that isn't necessary", "that's not important", "that's not needed", "that's not all",
    "this is not urgent", "this is not a", "this isn't a", "this isn't urgent", "not bad",
    "i wanted to thank", "i wanted to ask", "i wanted to know", "i wanted to say",
    "that's too bad", "that is too bad", "you didn't have to", "that's too kind", "it's too late",
    "das ist nicht schlimm", "ce n'est pas grave", "ce n'est pas mal", "c'est pas mal",
    "c'est pas grave", "that's not what i'm asking", "you need to see", "you have to see",
    "you must be", "you must have", "you put it well", "you have to admit",
    "you left me speechless", "you still there", "you keep surprising", "no es necesario",
    "no es nada", "no está mal", "ce n'est rien", "ce n'est pas la peine", "non è male",
    "não é nada", "das ist nicht schlecht", "das ist nicht nötig", "du hast recht",
    "you changed my", "nothing changed my", "falta poco", "wrong chat", "wrong window",
    "wrong number", "wrong person", "wrong tab", "wrong button",
];

/// Requests to do it again or otherwise; they count at the start of a clause, before anything
/// that is no feedback.
#[rustfmt::skip]
pub const CHANGES: &[&str] = &[
    "redo", "do it again", "do that again", "try again", "try it again", "try once more",
    "one more time", "write it again", "start over", "shorter", "longer",
    "simpler", "shorten it", "shorten that", "more concise", "more concisely", "more detail",
    "more details", "less verbose", "be brief", "be concise", "be more", "be less",
    "keep it short", "keep it shorter", "keep it brief", "not so", "don't", "do not",
    "why did you", "why didn't you", "fix it", "fix that", "say it again", "in english please",
    "nochmal", "noch mal", "noch einmal", "versuch es nochmal", "versuche es noch einmal",
    "kürzer", "länger", "einfacher", "nicht so", "hör auf", "refais", "recommence", "réessaie",
    "reformule", "plus court", "plus long", "plus simple", "fais-le", "arrête", "otra vez",
    "inténtalo", "intenta de nuevo", "hazlo de nuevo", "hazlo más", "reescríbelo", "reformula",
    "más corto", "más breve", "más largo", "más simple", "重新", "重写", "重来", "再试", "再来一次", "短一点",
    "简短一点", "长一点", "简单一点", "不要", "换个说法", "改一下", "stop doing", "stop using", "stop adding",
    "stop saying", "stop repeating", "stop writing", "stop giving", "stop it", "stop that",
    "stop with", "i said", "i told you", "i asked for", "i asked you to", "i wanted you",
    "i wanted it", "i wanted only", "i wanted just", "i meant", "ich meinte", "ich sagte",
    "ich wollte nur", "je voulais", "yo quería", "redo this", "do this again", "do it over",
    "again please", "once more", "another go", "one more try", "regenerate", "recalculate",
    "start again", "check again", "i was unclear", "drop the", "drop all",
    "lose the", "never", "always", "just give", "just the", "only the", "only give",
    "keep to", "stick to", "come again", "say that again", "less", "fewer", "anders gefragt",
    "anders formuliert", "anders gesagt", "ich meine", "bitte nicht", "nie", "immer", "lass das",
    "lass die", "je reformule", "je veux dire", "jamais", "toujours", "enlève", "enlevez",
    "retire", "quiero decir", "dicho de otro modo", "nunca", "siempre", "quita", "sin",
    "más conciso", "rifai", "rifalla", "rifallo", "riprova", "di nuovo", "più corto", "più breve",
    "refaça", "de novo", "mais curto", "tente de novo", "quero dizer", "opnieuw", "nog een keer",
    "korter", "ik bedoel", "jeszcze raz", "krócej", "spróbuj jeszcze", "chodzi mi", "ещё раз",
    "еще раз", "короче", "я имел в виду", "もう一度", "もう一回", "短くして", "もっと短く", "다시", "짧게", "줄여",
    "제 말은", "重写一遍", "再写", "再来", "换成", "改成", "我的意思是", "换句话说", "别", "请不要", "请控制", "make it more",
    "make it less", "make it shorter", "make it simpler", "make it longer", "make it clearer",
    "make it sound", "make it brief", "make it bold", "make it formal", "make it friendlier",
    "make it better", "make it warmer", "make it easier", "make it smaller", "mach es kürzer",
    "mach es einfacher", "mach es länger",
];

/// What looks like a request for a change and is none.
#[rustfmt::skip]
pub const NO_CHANGE: &[&str] = &[
    "don't forget", "don't worry", "do not worry", "don't you", "don't know", "don't remember",
    "do not forget", "make it a", "make that two", "be more specific about what", "不要紧", "不要担心",
    "stop by", "redo the", "never mind", "nevermind", "never heard", "never again",
    "always wanted", "always happy", "always good", "always a pleasure", "less than",
    "less is more", "no more questions", "in other words you", "immer gerne",
    "toujours un plaisir", "siempre es un", "sin duda", "sin problema", "don't bother",
    "don't think", "don't care", "do not know", "no more for today", "rephrase this",
    "rephrase the following", "reword this", "reword the following", "rephrase it for",
    "rephrase it as", "rephrase that for", "rephrase that as", "reword it for", "reword that for",
    "reformule pour", "reformula para",
];

/// Wishes for later; they count against the reply unless it was praised too.
#[rustfmt::skip]
pub const NEXT_TIMES: &[&str] = &[
    "next time", "from now on", "in future", "in the future please", "going forward",
    "nächstes mal", "beim nächsten mal", "ab jetzt", "in zukunft bitte", "la prochaine fois",
    "à partir de maintenant", "la próxima vez", "a partir de ahora", "下次", "以后请", "从现在起",
    "à l'avenir", "in zukunft", "künftig", "en el futuro", "de ahora en adelante", "d'ora in poi",
    "la prossima volta", "da próxima vez", "daqui em diante", "de volgende keer",
    "następnym razem", "в следующий раз", "次から", "次回", "다음부터", "다음에는",
];

/// A bare no: it counts as the first clause, and only where the reply asked nothing.
#[rustfmt::skip]
pub const NOES: &[&str] = &[
    "no", "no no", "nein", "non", "no no no", "不", "不是",
];

/// A no that is a yes as well.
#[rustfmt::skip]
pub const YES_AND_NO: &[&str] = &[
    "yes and no", "ja und nein", "jein", "oui et non", "sí y no", "sì e no", "sim e não",
];

/// What follows a no that is no correction.
#[rustfmt::skip]
pub const HARMLESS_AFTER_NO: &[&str] = &[
    "thanks", "thank you", "that's all", "that is all", "that's it", "that's fine", "that's ok",
    "that's okay", "that's great", "that's good", "i'm good", "i'm fine", "all good",
    "it's fine", "it's ok", "it's okay", "nothing else", "not now", "danke", "das war's",
    "das ist alles", "merci", "c'est tout", "c'est bon", "gracias", "eso es todo", "está bien",
    "谢谢", "没事",
    "wait", "hold on", "my mistake", "my bad", "sorry", "you're right", "you are right",
    "problem", "worries", "need", "rush", "idea", "warte", "moment", "attends", "espera",
    "i have no", "i don't have", "not yet", "nothing", "no more",
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
    "drop", "tell me", "explain", "take", "finish", "stick to", "no", "drop the", "lose the",
    "show me", "pick", "restore", "zeig", "erkläre", "sag", "nenne", "lass", "sois", "vouvoie",
    "montre", "explica", "muestra", "sé", "usar", "rifalla", "scrivi", "usa solo",
    "escreva", "explique", "gebruik", "schrijf", "pisz", "użyj", "используй", "пиши", "使って", "사용",
    "改成", "换成", "请控制", "请用", "控制在",
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
