from kit import *

C = Cat("format_complaint")
C(-1, "Pros and cons of heat pumps", "Heat pumps are efficient and they also can be loud and they cost a lot up front, but they save money later, although in cold climates ...",
  "That's a wall of text. I can't read this on my phone, use bullet points.", "asks for bullets", must=[r"bullet|list|point"])
C(-1, "What's 18% of 2450?", "To find 18% of 2450 we first recall that a percentage is a fraction of one hundred. Therefore, 18% equals 18/100 ... Hence the result is 441.",
  "Just the number next time, I don't need the lecture.", "too long", must=[r"number|only|brief|short|concise|without.*(explan|lectur)|just|direct"])
C(-1, "List the EU countries with the euro, as JSON array", "Sure! The countries are:\n\n- Austria\n- Belgium\n- ...", "json. i said json.", "missed the format that was asked for", must=[r"json"])
C(-1, [s("Answer in plain text; the terminal cannot render markdown."), u("how do I list open ports")], "## Listing open ports\n\n**Linux**: use `ss -tlnp`",
  "the hashes and asterisks show up raw in my terminal, no markdown please", "breaks the system message", must=[r"markdown|plain|raw"])
C(1, "Table of our three plans: Basic 5 EUR/1 user, Team 19/10, Pro 49/unlimited", "| Plan | Price | Users |\n|---|---|---|\n| Basic | 5 EUR | 1 |\n| Team | 19 EUR | 10 |\n| Pro | 49 EUR | unlimited |",
  "The format is exactly right, pasted it into the wiki as is.", "about the format, but praise")
C(-1, "Write the changelog entry for 2.4.0: dark mode, faster start, fix for crash on rotate", "We are proud to present 2.4.0! In this release we ...",
  "We use Keep a Changelog style: headings Added / Changed / Fixed, one line each. Please stick to that.", "house style", must=[r"added|changelog|heading|fixed|section"])
C(-1, "Give me the ingredients for pancakes for 4", "You'll need two and a half cups of flour, three eggs ...", "can't you give grams?? i don't own cups", "unit complaint", must=[r"gram|metric|weigh|unit"])
C(-1, "Schreib mir eine Zusammenfassung der Sitzung", "Die Sitzung begann um 9 Uhr. Zunächst begrüßte der Vorsitzende alle Anwesenden. Danach ... [14 Absätze]",
  "Viel zu lang! Maximal fünf Stichpunkte.", "German: too long, bullets", lang="de", must=[r"stichpunkt|kurz|kürzer|fünf|5|short|bullet|point"])
C(-1, "code for a debounce function", "Here is a debounce function: function debounce(fn, ms) { let t; return (...a) => { clearTimeout(t); t = setTimeout(() => fn(...a), ms); }; }",
  "Please put code in a code block so that I get highlighting and a copy button.", "polite format complaint", must=[r"code ?block|fence|block|backtick"])
C(-1, "Translate each line, keep the numbering: 1. Hola 2. Adiós 3. Gracias", "Hello, Goodbye, Thanks", "You dropped the numbering that I asked you to keep.", "ignored format request", must=[r"number"])
C(-1, "send me the dates of the three workshops", "Workshop A: 03/04/25, Workshop B: 05/06/25, Workshop C: 07/08/25", "is 03/04 april or march?! use ISO dates, we're an international team", "ambiguous dates", must=[r"iso|yyyy|unambig|date"])
C(-1, "Could you explain OAuth?", "🚀 OAuth is like a 🔑 valet key! 🎉 You get 🪙 tokens! ✨ So cool! 💯", "Drop the emojis, this is for a bank.", "too playful", must=[r"emoji|professional|formal|sober|serious"])
C(-1, "Rewrite this paragraph so that it is under 280 characters: [...]", "Our community garden opens its gates on Saturday with music, food, tours of the beds, a plant swap, a workshop on composting for beginners, a children's corner, and a short speech by the mayor, who has supported the project from the start; everybody who wants to help is invited to bring gloves, a cup and good mood, and to stay until the evening.",
  "338 characters. Over the limit.", "limit was broken; points back to it", must=[r"280|limit|length|character|count|short"])
C(-1, "compare postgres and mysql for our case", "| | Postgres | MySQL |\n|---|---|---|\n| JSON | jsonb | json |\n...(40 rows)", "A 40 row table isn't an answer. Tell me in one paragraph which one and why.", "wants prose, not a table",
  must=[r"paragraph|prose|recommend|which one|table"])
C(-1, "Fais-moi une liste de courses pour une raclette à 6", "Pour une raclette à six, il vous faudra environ 1,2 kg de fromage, puis des pommes de terre, de la charcuterie, des cornichons ...",
  "Pas de paragraphe s'il te plaît, une ligne par article pour que je puisse cocher.", "French: list with one item per line", lang="fr", must=[r"ligne|liste|article|line|list|coch"])
C(1, "Same data, but as CSV with semicolons", "name;qty;price\npen;3;1,20\nink;1;8,00", "imports cleanly into Excel now, so the semicolons did the trick", "format question solved")
C(-1, [s("You are a coding agent."), u("show me only the changed lines of server.py")], "```python\n# server.py, 412 lines\nimport os\nimport sys\n...\n```",
  "I asked for the diff, not the whole file. Unified diff please.", "wrong extent and format", must=[r"diff|changed|only"])
C(-1, "Write alt text for the photo of a girl feeding ducks at a pond in fog", "Image of a picture which shows a photo of a girl who is feeding ducks, there is fog, mood is melancholic, colours are grey-blue ...",
  "Alt text should be one short sentence and never start with 'image of'.", "a rule of the form", must=[r"short|sentence|image of|concise|start"])
C(-1, "Label the axes in my chart spec", R("", c("edit_chart", id=12, x_title="X", y_title="Y")),
  T("chart 12 saved") + [u("'X' and 'Y' aren't labels. Put the quantity and the unit on each axis.")], "tool success, but the user complains about the form", must=[r"unit|quantit|label|descript|meaning"])
C(-1, "Answer my quiz: A, B, C or D: Which gas do plants take in? A oxygen B nitrogen C carbon dioxide D helium", "Plants take in carbon dioxide through their stomata, which is why ...",
  "Letter only, my script parses it.", "output for a script", must=[r"letter|only|single|pars"])
C(-1, "用三句话介绍一下上海", "上海，简称“沪”，是中国的直辖市之一……（十二段，略）", "太长了，我说的是三句话。", "Chinese: length limit was ignored", lang="zh", must=[r"三句|简短|短|三个句|three|句"])
C(-1, "Put my CV bullets into past tense and one line each", "• Was responsible for managing a team of five engineers across two sites, which involved weekly planning, hiring, mentoring and also budget talks with finance and, at times, customers\n• ...",
  "one line each means one line each. these wrap to three", "irritated: instruction ignored", must=[r"one line|line|short|concise|trim|wrap"])
C(-1, "Can I have the schedule in 24h time", "Doors 7:00 PM, support 8:00 PM, main act 9:15 PM", "Still am/pm...", "terse: the asked-for format is missing", must=[r"24|am/pm"])
C(-1, "Name the file by our convention please", R("", c("write_file", path="Final Report (new).docx", text="...")),
  T("written: Final Report (new).docx") + [u("no spaces or brackets in file names, we use lower-case-with-dashes, see CONTRIBUTING")], "convention broken", must=[r"dash|lower|space|convention|kebab|hyphen"])

C = Cat("factual_correction")
C(-1, "When did the Vasa sink?", "The Vasa sank in 1648 in Stockholm harbour.", "It was 1628, not 1648.", "hands over the answer only: no hint", never=[r"1628"])
C(-1, "How many legs does a lobster have?", "A lobster has eight legs.", "Wrong, it's ten. They're decapods.", "answer only", never=[r"\bten\b|\b10\b"])
C(-1, "Convert 3 pm Berlin time on 15 July to UTC", "3 pm in Berlin is 14:00 UTC.", "Nope. In July there is daylight saving time there, you must check the DST offset for the date before converting.", "correction with a rule",
  must=[r"dst|daylight|summer time|offset"], never=[r"13:00|1 ?pm"])
C(-1, "What's the derivative of x^2 * sin x", "2x cos x", "You can't just multiply the derivatives. Use the product rule.", "correction with a rule", must=[r"product rule"], never=[r"x\^?2 ?\*? ?cos"])
C(-1, "Who wrote 'The Garden Party'?", "Virginia Woolf.", "Katherine Mansfield actually.", "answer only", never=[r"mansfield"])
C(-1, "is sqlite fine with two writers at once?", "Yes, SQLite handles any number of writers in parallel.", "that's not true, it locks the whole database for a write", "fact handed over", never=[r"locks? the whole"])
C(0, "Remind me what day the 12th of May 2025 is", "12 May 2025 is a Monday.", "Oh wait, I gave you the wrong date, the wedding is on the 21st. So which day is that?", "user corrects the own slip")
C(-1, "What is our VAT on books (Germany)?", "19 %.", "7 % for books. You should always check whether the reduced rate applies to the kind of goods.", "fact plus rule",
  must=[r"reduced|rate|kind of goods|check|categor"], never=[r"\b7 ?%|seven per"])
C(-1, "Combien de joueurs dans une équipe de handball sur le terrain ?", "Onze joueurs.", "Non, sept, gardien compris.", "French answer only", lang="fr", never=[r"\bsept\b|\b7\b|seven"])
C(-1, "Whats the boiling point of water on top of Mont Blanc", "100 °C, as everywhere.", "No!! pressure falls with altitude so the boiling point does as well. Take the pressure into account.", "rule given",
  must=[r"pressure|altitude|elevation"], never=[r"8[3-6]"])
C(-1, [u("I take warfarin. Which painkiller is ok?"), a("I'm not a doctor, but tell me what you have at home."), u("ibuprofen and paracetamol")], "Ibuprofen is the safer choice for you.",
  "My pharmacist just told me the opposite: never suggest NSAIDs to someone on blood thinners without a warning!", "dangerous mistake with a rule", must=[r"blood thinner|nsaid|anticoag|warfarin|interact|warn|pharmac"])
C(-1, "How old was Mozart when he died", "He died at 40.", "35.", "bare number", never=[r"35|thirty-five"])
C(-1, "write the sum of the invoice lines: 19.99, 5.01, 30", "Total: 54.99", "19.99 + 5.01 + 30 = 55.00. Add up carefully or use the calculator tool.", "answer and advice", must=[r"calculator|careful|tool|verif|check|arithm|add"], never=[r"\b55"])
C(-1, "Which team won the cup last year?", "I believe it was Harbour FC.", "it was Northgate Rovers, you could've looked it up with the search tool you have", "answer and advice: use the tool",
  must=[r"search|look|tool|verif"], never=[r"northgate"])
C(-1, "Name the capital of Kazakhstan", "Almaty", "Sorry to correct you, but Almaty stopped being the capital in 1997.", "polite correction", never=[r"astana|1997"])
C(0, "What's the ISBN in this photo text: 'ISBN 3-16-148410-0'?", "3-16-148410-0", "Hm, my photo app misread it, the book itself says something else. I'll take a sharper picture later.", "the fault was in the input")
C(-1, "Wie viele Bundesländer hat Österreich?", "Österreich hat acht Bundesländer.", "Stimmt nicht, es sind neun.", "German answer only", lang="de", never=[r"\bneun\b|\b9\b|nine"])
C(-1, "Explain what `git pull` does", "It uploads your commits to the server.", "You're mixing up pull and push.", "tells which two were confused", hint=False, never=[r"fetch"])
C(-1, "What's the past tense of 'lie' as in lie down", "'Lied': Yesterday I lied down.", "Teacher marked it wrong. It's 'lay'.", "answer only, by a third person", never=[r"\blay\b"])
C(1, "Is it true that goldfish only remember for three seconds?", "No, that is a myth; they remember feeding times for months.", "My friend insisted you're wrong, but we looked it up and you were right.", "a correction that is taken back")
C(-1, "How many feet in a nautical mile?", "5280 feet.", "That's a statute mile. Don't confuse the two kinds of mile; for navigation always take the nautical one.", "correction with a rule",
  must=[r"nautical|statute|kind of mile|type of mile"], never=[r"6,?076"])
C(-1, "Is the meeting with Priya on Wednesday?", "Yes, Wednesday at 10.", "It's Friday at 2. You have the calendar tool, so check the calendar before you answer such things.",
  "fact handed over plus a rule", must=[r"calendar|check|verif|tool|look"], never=[r"friday"])
C(-1, "秦始皇是哪一年统一六国的？", "公元前231年。", "错了，是公元前221年。", "Chinese answer only", lang="zh", never=[r"221"])
C(1, "Shouldn't the plural of octopus be octopi?", "In English 'octopuses' is the usual plural; 'octopi' rests on a wrong Latin analogy.", "Huh, I stand corrected. Changed it in the brochure.", "the user corrects themself and adopts the answer")

C = Cat("directive")
C(-1, "Delete the temp files in the project", R("", sh("rm -rf tmp/ cache/ old/")), T("") + [u("You should have asked me before deleting old/. Always ask before you remove a directory.")], "directive after a silent success",
  must=[r"ask|confirm"], never=[])
C(-1, "Where's the config loaded?", "Probably in main.py, most projects do it there.", "Don't guess. Look at the files first, then answer.", "directive to look", must=[r"look|read|file|inspect|check|open|search"])
C(-1, "rename variable x to count in stats.js", R("", c("write_file", path="stats.js", text="// whole file rewritten ...")), T("wrote 210 lines") + [u("Use the edit tool for small changes instead of rewriting the file.")], "wrong tool",
  must=[r"edit|small|rewrit|minimal|patch"])
C(-1, "Which flight should I take?", "Flight LX 318 leaves at 06:10 and is the cheapest.", "From now on never propose anything before 8 am.", "standing preference", must=[r"8|early|morning|before"])
C(-1, "explain why my test fails", "Here's the fixed code: ...", "Next time explain first and wait with the fix until I say so. I'm trying to learn.", "order of work", must=[r"explain|fix|wait|learn"])
C(-1, "Write the unit tests for cart.ts", R("", c("write_file", path="cart.test.ts", text="import { jest } from '@jest/globals'; ...")), T("ok") + [u("We use vitest here, not jest. Check package.json before you pick a framework.")], "rule of the project",
  must=[r"vitest|package\.json|framework"])
C(-1, "Reply to Tom that I'm in", R("", c("send_mail", to="all@ourclub.example", text="Hi Tom, I'm in!")), T("sent to 84 recipients") + [u("NO! never use reply-all. only to the person i name")], "tool success with a bad effect",
  must=[r"reply.?all|recipient|only|person|all@|address"])
C(-1, "How much will the trip be?", "About $1,900.", "Please give prices in Swiss francs, I live in Bern.", "polite directive", must=[r"franc|chf|currency|swiss"])
C(-1, "Kannst du das Skript ausführbar machen?", R("", sh("chmod 777 deploy.sh")), T("") + [u("Bitte nie 777. Nimm immer die kleinsten nötigen Rechte, hier also u+x.")], "German directive", lang="de", must=[r"recht|permission|777|u\+x|minimal|kleinst"])
C(1, "Commit the change", R("", sh("git commit -am 'fix: handle empty cart'")), T("[main 3f1c9aa] fix: handle empty cart\n 1 file changed") + [u("Yes! Always write them like that: short, with a prefix.")], "directive that confirms the reply")
C(-1, "Find papers on sleep and memory", "1. Smith (2019) ... 2. Lee (2020) ... 3. ...", "You must give a DOI for every paper, otherwise I can't check that they exist.", "directive", must=[r"doi|link|source|verif"])
C(-1, "Add a footer to the page", R("", c("edit_file", path="index.html", old="</body>", new="<footer style='color:red;font-size:10px'>(c)</footer></body>")), T("1 replacement made") + [u("don't put inline styles in the html, styles belong in main.css")], "code rule",
  must=[r"inline|css|stylesheet"])
C(-1, "Help me to solve: a train travels 120 km in 1.5 h, how fast?", "80 km/h.", "I'm a tutor bot's pupil, you're supposed to guide me with questions, not give the result.", "pedagogic directive", must=[r"guid|question|step|hint|pupil|socratic|without.*(result|answer)"])
C(-1, "Update the readme with install steps", R("", c("write_file", path="README.md", text="# App\nRun: curl http://get.example | sudo bash")), T("ok") + [u("Never recommend piping curl into sudo bash. List the package manager commands instead.")], "security rule",
  must=[r"curl|pipe|piping|package manager|bash"])
C(-1, "Résume ce fil de discussion pour Claire", "Voici le résumé : Marc n'a pas compris, Luc s'énerve, Claire est absente ...", "À l'avenir, reste neutre : pas de jugement sur les personnes.", "French directive", lang="fr", must=[r"neutr|jugement|personne|judg|objectif|factuel"])
C(-1, "order more printer paper", R("", c("place_order", item="Paper A4", quantity=50)), T('{"order": 7781, "total": "245.00 EUR"}') + [u("50 boxes?! You need to check the stock and confirm the quantity with me before ordering anything over 100 euros.")], "limit set by the user",
  must=[r"confirm|ask|quantit|stock|approv|check"])
C(-1, "summarise chapter 3", "Chapter 3: ... Chapter 4: ... and in the end the butler did it.", "No spoilers beyond the chapter that I name, please.", "directive", must=[r"spoiler|chapter|beyond|only"], never=[r"butler"])
C(-1, "Which of these two sentences is better?", "Both have their merits; it depends on your taste and audience.", "Pick one. If I ask for a choice, choose and give one reason.", "directive", must=[r"pick|choose|choice|commit|decid|one"])
C(1, "Draft three subject lines and mark your favourite", "1. Your seat is waiting\n2. Last call for May ★\n3. We saved you a spot", "2 it is. In future mails keep using that urgent-but-friendly tone, it converts best.", "directive that confirms")
C(-1, "Deploy to staging", R("", sh("./deploy.sh production")), T("deployed build 991 to production") + [u("STAGING. read the target twice before you run a deploy, and use --dry-run first")], "grave mistake, rule", must=[r"staging|target|dry.?run|environment|double.?check|verify"])
C(-1, "Rispondi al cliente che il pacco è partito", "Ciao bello! Il tuo pacco è partito, yeah!", "Con i clienti si usa sempre il Lei e un tono professionale.", "Italian directive", lang="it", must=[r"\blei\b|formal|profession"])
C(-1, "What changed between v1 and v2 of the contract?", "A few clauses on liability and term.", "When I ask for changes, quote the old and the new wording side by side.", "directive", must=[r"quot|wording|side|old|both|text"])
C(-1, "make the function faster", R("", c("edit_file", path="lev.py", old="def lev(a, b):", new="def lev(a, b):  # tuned")), T("1 replacement made") + [u("Measure before and after, and show me the numbers. Otherwise don't claim that it's faster.")], "directive to measure", must=[r"measur|benchmark|profil|number|timing|before and after"])
C(-1, "以后帮我写邮件，先写给王经理的请假邮件", "嘿王经理，我明天不来啦！", "给上级写邮件要用敬语，先说明原因再说日期。", "Chinese directive", lang="zh", must=[r"敬语|正式|原因|礼貌|formal|尊敬"])
