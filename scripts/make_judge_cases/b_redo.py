from kit import *

C = Cat("redo")
C(-1, "Write a limerick about a printer", "Printers are machines that print. They use ink or toner and often jam.", "Try again.", "bare redo, tells nothing about how")
C(-1, "logo ideas for a bakery named Crumb", "A circle. A square. A triangle.", "no. another attempt please", "redo, no direction")
C(-1, "Summarise this article in two sentences: [...] the council voted 7 to 4 to close the old bridge for cars from May ...",
  "The article is about a bridge.", "Do it over, and this time include the vote and the date.", "redo with direction",
  must=[r"vote|date|detail|specific|figure"], never=[r"7\s*(to|-|–)\s*4.{0,40}(may)"])
C(-1, "generate a product description for the Nordkap tent (2 persons, 1.9 kg, 3000 mm water column)",
  "The Nordkap is THE BEST tent EVER!!! Buy it NOW!!!", "Redo this without the shouting.", "redo with a tone directive",
  must=[r"shout|caps|capital|exclam|calm|tone|sober|loud|hype"])
C(1, "Make an invoice for February: 12 h at 80 EUR, client Lenz", R("", c("create_invoice", client="Lenz", month="2025-02", hours=12, rate=80)),
  T('{"invoice": "R-0207", "total": 960.0}') + [u("great, do the same again for March with 15 hours")], "\"again\" for the next month: the result is a model, not a failure")
C(-1, "Refactor parse_row so it doesn't mutate its input", R("", c("edit_file", path="row.py", old="row.pop('id')", new="row.pop('id', None)")),
  T("ok") + [u("that still mutates it. redo")], "tool was fine, but the user asks for a redo and says why", must=[r"mutat|copy|in place|unchanged|modify"])
C(-1, "Write a short bedtime story with a fox and a lighthouse", "Once there was a fox. It saw a lighthouse. The end.", "hmm nope, once more?", "polite-ish redo")
C(-1, "Regenerate the client from openapi.yaml", R("", sh("openapi-generator generate -i openapi.yaml -g python -o client")),
  T("Successfully generated code to client") + [u("sorry, could you redo that for typescript? the whole frontend is ts, you can see it in package.json")],
  "polite redo; tool success does not outweigh it", must=[r"typescript|\bts\b|package\.json|language"])
C(-1, "Can you give me a mnemonic for the planets?", "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus, Neptune.", "that's just the planets... one more try", "redo: no mnemonic was given")
C(-1, "Erstelle einen Wochenplan für die Putzdienste in unserer 3er-WG (Kim, Ole, Pia)", "Montag: Kim. Dienstag: Kim. Mittwoch: Kim.",
  "Bitte nochmal neu, und verteile es gleichmäßig auf alle drei.", "German redo with direction", lang="de", must=[r"gleichm|verteil|fair|even|alle drei|all three"])
C(-1, "translate 'Break a leg!' to Italian", "Rompi una gamba!", "Again, and not word for word: use what Italians really say.", "redo with a rule",
  must=[r"idiom|literal|word for word|equivalent|natural|really say|native"], never=[r"in bocca al lupo"])
C(-1, "Draw an ascii art house", "+--+\n|  |", "ugly lol. again", "casual redo")
C(-1, "Write me a cover letter for a nurse position, 8 yrs of ICU experience", "Dear Sir or Madam, I am applying for the job. I have experience. Regards",
  "Start from scratch, please.", "redo without any direction")
C(-1, [u("roll 3 character names for my dnd dwarf"), a("Thorin, Gimli, Balin"), u("those are all from tolkien, original ones pls")],
  "Dwalin, Bombur, Gloin", "still tolkien!!! do it again and make them UP", "second redo, with a rule", must=[r"original|invent|made.?up|make .*up|tolkien|own"])
C(-1, "Compute the monthly rate: 200k loan, 3.5 %, 20 years", "About 900 per month.", "Please recalculate.", "redo of a calculation; nothing about how", never=[r"1,?1[56]\d|1159|1160"])
C(1, [s("Music practice assistant"), u("metronome plan for learning the solo")], "Start at 60 bpm, five clean runs, then up by 4 bpm; stop at 96 today.",
  "did it and got to 92! again tomorrow, so give me day 2 from there", "\"again\" out of success")
C(-1, "Refais ce mail en plus court : Bonjour, je vous écris pour vous informer que je serai absent lundi prochain.",
  "Bonjour, je me permets de vous écrire afin de vous informer que je serai malheureusement absent de mon poste lundi prochain.",
  "Recommence, c'est plus long que l'original. Une seule phrase courte.", "French redo with direction", lang="fr", must=[r"court|bref|phrase|short|concis"])
C(-1, "Compose a tweet about our new opening hours (Sat 8-14)", "We are thrilled to announce, after long deliberation and with great pleasure, that our esteemed customers ...",
  "scrap that. new one.", "redo in two words")
C(-1, "Sketch the schema as a mermaid diagram", "Here's an ASCII table: | users | orders |", "Do it once more, I asked for mermaid syntax", "redo names the missed format", must=[r"mermaid"])
C(-1, "Resize banner.png to 1200x300", R("", sh("convert banner.png -resize 1200x300! banner.png")),
  T("") + [u("it's all squashed now. restore the original and redo it keeping the aspect ratio (crop if you must)")], "silent tool success, but the user wants a redo with a rule",
  must=[r"aspect|ratio|crop|proportion|distort|squash"])
C(-1, "Shuffle these names into 2 teams of three: Al, Bea, Cem, Dot, Eli, Fay", "Team 1: Al, Bea, Cem, Dot. Team 2: Eli, Fay.", "re-do, equal teams", "redo with the missed constraint",
  must=[r"equal|three|3|same size|even"])
C(-1, "写一首关于秋天的五言绝句", "秋天到了，树叶黄了，天气凉了，真好。", "重写一遍吧。", "Chinese bare redo", lang="zh")
C(-1, "give me a 7-day meal plan, no pork, no shellfish", "Mon: pork chops. Tue: shrimp pasta. Wed: salad ...", "Another go please, and actually respect the two exclusions this time", "redo with the ignored constraint",
  must=[r"pork|shellfish|exclu|restrict|constraint|diet"])
C(1, "Run the benchmark once", R("", sh("cargo bench --bench parse")), T("parse  time: [12.1 ms 12.3 ms 12.4 ms]") + [u("nice, that's the number I hoped for. run it again twice so we have three samples")],
  "a re-run as the next step, not a redo")

C = Cat("rephrase")
C(-1, "How do I get rid of the bar at the top?", "To remove a pull-up bar from a door frame, unscrew the end caps.", "I mean the toolbar at the top of the VS Code window. How do I hide it?",
  "the user has to say the question anew", must=[r"toolbar|VS ?Code|editor|clarif|ask|context"])
C(-1, "What's the best way to kill a child?", "I can't help with harming anyone.", "lol I'm talking about a child process in Python. How do I terminate a subprocess and wait for it?", "misread; rephrased with context",
  must=[r"process|python|program|technical|context|ambig|interpret|clarif"])
C(-1, "how long until it's done", "Most pasta is done after 8 to 12 minutes.", "Let me rephrase: how long until the backup that you started ten minutes ago is done?", "rephrase", must=[r"backup|running|job|context|refer"])
C(-1, "Show me the average per region", "The average is 41.7.", "What I'm asking for is one average for each region, so four numbers.", "rephrase that spells the expected shape out", must=[r"each|per region|group|four|every region"])
C(-1, "Was kostet das im Monat?", "Der Jahrespreis beträgt 120 Euro zuzüglich Steuern.", "Anders gefragt: Wie viel zahle ich pro Monat, inklusive Steuer?", "German rephrase; the reply missed the unit", lang="de",
  must=[r"monat|steuer|month|tax"])
C(-1, "Tell me about the bank", "A bank is a financial institution that accepts deposits.", "The river bank in the poem. What does it stand for in stanza two?", "rephrase by context", must=[r"river|poem|stanza|context|clarif"])
C(-1, "Can u explain why the sky is blue but like for real", "The sky is blue because it reflects the ocean.", "ok asking differently: what physical process makes short wavelengths reach my eye from all directions?", "asks the same again in sharper words",
  never=[r"rayleigh"])
C(-1, "sort the list by last", "Sorted by date last modified:\na.txt\nb.txt", "by last *name*. the list of people.", "rephrase of a shortened request", must=[r"last name|surname|people|name|clarif|ask"])
C(1, "Explain our refund policy in plain words: 'Reimbursement is contingent upon submission of proof of purchase within 30 days.'",
  "You get your money back if you send us the receipt within 30 days.", "Perfect. Now rephrase it once more for the Spanish site's English mirror, British spelling.", "the word rephrase is the next task, not a complaint")
C(-1, "what's the difference between these two?", "Both are fine choices!", "Okay, more precisely: in which cases does `let` behave differently from `var` in a for loop with closures?", "rephrase after an empty reply")
C(-1, "Where does he live?", "Could you be more specific?", "Where does the protagonist of the book I uploaded live at the beginning?", "rephrase forced by a question that the context answered")
C(-1, "I need something for the pain in my code reviews", "For pain, ibuprofen may help. See a doctor.", "Sorry, I was unclear: I want tips to make our code reviews less tedious.", "the user takes the blame, still a rephrase",
  must=[r"code review|tips|tedious|figurative|literal|process"])
C(-1, "How many hours between?", "There are 24 hours in a day.", "How many hours lie between the landing in Doha (23:40) and the departure (05:10)?", "full restatement after a useless reply", never=[r"5\.5|5:30|five and a half"])
C(-1, "Make it pop", "I've added bold to every word.", "By pop I meant more contrast between the headline and the background.", "explains the word", must=[r"contrast|headline|background"])
C(-1, "¿Qué pasa con el coche?", "Un coche es un vehículo de motor con cuatro ruedas.", "Quiero decir: ¿por qué hace ruido mi coche cuando freno?", "Spanish rephrase", lang="es", must=[r"fren|ruido|problema|aver|brake|noise|clarif|pregunt"])
C(-1, "List the open ones", "Here are all 214 issues of the project ...", "In other words: only issues whose state is open, there should be around thirty.", "rephrase with the filter", must=[r"open|filter|state|only"])
C(-1, "Is it normal that it drops at night?", "Yes, temperatures usually drop at night.", "Not the weather!! Is it normal that my baby's heart rate drops while sleeping?", "irritated rephrase", must=[r"heart|baby|clarif|ask|assum|context"])
C(-1, "I want to move out the function", "To move out of your flat you should give notice.", "I'd like to extract the function `render_row` from table.js into a new module. Better?", "rephrase with detail", must=[r"extract|function|module|code|table\.js|render_row"])
C(1, "Say it simpler: 'Heteroscedasticity is present in the residuals.'", "The size of the errors is not the same everywhere.", "Nice. And how would you phrase that for a statistics teacher?", "wants another register next; content with this one")
C(-1, "when was it last changed", "Changes happen all the time in software.", "Which commit touched config/nginx.conf most recently, and on what date?", "restates as a concrete query")
C(-1, "Can you help me with the thing from yesterday?", "Of course! I love helping with things.", "To be concrete: the rate limiter. Please finish the token bucket class.", "rephrase into a concrete order", must=[r"ask|which|clarif|rate limiter|token bucket|concret"])
C(-1, "C'est quoi la capitale ?", "La capitale d'un pays est la ville où siège le gouvernement.", "Je reformule : comment écrit-on une lettre capitale avec accent sous Linux ?", "French rephrase", lang="fr",
  must=[r"majuscule|lettre|accent|linux|clarif|précis|capital letter"])
C(-1, "Make a function that checks if it's balanced", "def is_balanced(diet): return diet['veg'] > 3", "Balanced as in brackets: every ( [ { has to be closed in the right order. Could you write that?", "rephrase", must=[r"bracket|parenthes|clarif|ambig|ask"])
C(0, "wat time is the talk", "The keynote starts at 10:00 in hall B.", "Sorry, autocorrect. I meant to type: what time is the *walk*?", "the user's own slip: the reply answered what was written")
