from kit import *

C = Cat("thanks")
C(1, "can you turn this into a polite reminder? invoice 4471 is 3 weeks late, customer is Brandt & Co",
  "Subject: Friendly reminder: invoice 4471\n\nDear Brandt & Co team,\n\nour records show that invoice 4471 has been open for three weeks. Could you let us know when we can expect payment? If it has already been sent, please disregard this note.\n\nKind regards",
  "Lovely, thank you! Sent it just now.", "thanks, and the draft was used")
C(1, "Why does my sourdough come out so flat?",
  "Usually the dough is over-proofed or the starter is weak. Try a shorter bulk rise (until it has grown by about half) and bake straight from the fridge.",
  "thx, that was it, the loaf from this morning is twice as tall", "thanks with proof that the advice worked")
C(1, [s("You are a terse shell assistant."), u("one liner to count files per extension in cwd")],
  "find . -type f -name '*.*' | sed 's/.*\\.//' | sort | uniq -c | sort -rn", "ty", "bare thanks in slang")
C(-1, "Can you find out which bus goes from Marktplatz to the airport after midnight?",
  "Night bus routes vary by city. Please check the website of your local transport company for the current timetable.",
  "ok thanks anyway, I asked the driver and he knew.", "thanks out of courtesy: the reply did not help and the user went elsewhere")
C(1, "Proofread: 'Their going to there house over they're.'",
  "\"They're going to their house over there.\"", "Cheers mate!", "colloquial British thanks")
C(1, [u("my docker build copies node_modules every time, 900MB context"),
      a("Add a `.dockerignore` beside the Dockerfile."), u("what do i put in it")],
  "```\nnode_modules\n.git\ndist\n*.log\n```", "perfect, context is 4MB now. thank you so much", "thanks and measured success")
C(1, "Summarise the attached minutes in three sentences for my boss. [minutes: budget approved, hiring freeze until June, office moves to Dock Street in May]",
  "The budget was approved as proposed. A hiring freeze applies until June. The office moves to Dock Street in May.",
  "Much appreciated. That will be all for today.", "formal thanks that ends the work")
C(0, "What's a good name for a grey cat?",
  "How about Ash, Pepper, Misty or Domino?",
  "Could you also help me with my tax return tomorrow? Thanks in advance!", "thanks is for a later favour, not for this reply")
C(1, "Bitte übersetze: 'The delivery will be delayed by two days.'",
  "Die Lieferung verzögert sich um zwei Tage.", "Danke dir, genau so!", "German thanks", lang="de")
C(1, "Explain recursion to my 9 year old in 3 sentences",
  "Imagine a box that has a smaller box inside, and that one has an even smaller box inside. To find the sweet in the last box you do the same thing every time: open the box. When there is no box left, you are done!",
  "omg she got it right away, tysm!!", "enthusiastic thanks in slang")
C(1, "Is it safe to mix vinegar and bleach for cleaning the tub?",
  "No. The mixture releases chlorine gas. Use one or the other, rinse well in between, and air the room.",
  "Good to know. Thanks for the warning.", "thanks for information")
C(-1, "hey can you book me a table at Osteria Verde for tonight, 4 people",
  "I'm sorry, I can't make reservations. You could phone the restaurant.",
  "No thanks then, I'll use the other app.", "\"no thanks\": the user turns away from the reply")
C(1, [s("You help teachers. Keep everything at grade 5 level."), u("3 quiz questions about the water cycle pls")],
  "1. What is it called when water turns into vapour?\n2. Where do clouds come from?\n3. Name two ways in which water returns to the ground.",
  "These are great, thank you. My class will enjoy them.", "thanks and praise")
C(1, "Regex for a UK postcode, simple version is ok",
  "`^[A-Z]{1,2}\\d[A-Z\\d]? ?\\d[A-Z]{2}$` (use with the case-insensitive flag)",
  "Works on all 2,300 of our records. Thank you.", "thanks with success on real data")
C(1, "What do I say to a colleague whose father died?",
  "Keep it short and sincere: \"I'm so sorry about your father. I'm thinking of you. If I can take something off your desk, tell me.\"",
  "Thank you. I didn't know how to begin and this helped.", "quiet, sincere thanks")
C(1, "how do i undo last git commit but keep the changes",
  "git reset --soft HEAD~1", "u saved me 🙏 thanks", "thanks with emoji and text")
C(-1, "Plot the column 'temp' of data.csv by hour please",
  "Here is an explanation of how line charts work: a line chart shows points joined by lines ...",
  "Thanks, but I'll do it in Excel myself, that's quicker than reading this.", "polite thanks around a rejection")
C(1, "Convert 350 F to Celsius and the gas mark",
  "350 °F is about 177 °C, gas mark 4.", "tks", "shortest thanks")
C(1, "¿Cómo digo 'I look forward to hearing from you' en un correo formal?",
  "\"Quedo a la espera de su respuesta.\"", "¡Mil gracias! Justo lo que necesitaba.", "Spanish thanks", lang="es")
C(1, [u("Draft a packing list for a 4 day hike, hut to hut, September, Dolomites"),
      a("How many in your group, and do the huts serve dinner?"), u("2 of us, yes half board")],
  "Per person: sleeping bag liner, rain jacket and trousers, warm layer, hat and gloves, 2 sets of hiking clothes, head torch, 2 l bottle, snacks for 4 days, first aid kit (shared), cash, map, alpine club card.",
  "Excellent list. We're off on Friday. Many thanks for the help!", "thanks at the end of a session")
C(1, "Explain the difference between TCP and UDP for an interview",
  "TCP sets up a connection, numbers and acknowledges every segment and resends what is lost: reliable, ordered, slower. UDP only sends datagrams: no order, no guarantee, little overhead; good for voice, games and DNS.",
  "Thanks! That came up in the interview and I nailed it.", "late thanks with outcome")
C(0, "What is the tallest building in Malmö?",
  "That is the Turning Torso, about 190 metres high.",
  "thanks to my sister I now have to plan a whole trip to Japan. where do i start", "\"thanks to\" is no thanks for the reply; a new subject")
C(1, "Meu chefe pediu um resumo em uma linha: vendas subiram 12%, custos iguais, lucro recorde.",
  "Vendas em alta de 12% com custos estáveis levaram a um lucro recorde.", "obrigada!! ficou ótimo", "Portuguese thanks", lang="pt")
C(1, "Which fields do I need in a SPF record if we only send through Google?",
  "A single TXT record on the domain: `v=spf1 include:_spf.google.com ~all`.",
  "Thank you, the test mail passes SPF now and I could close the ticket.", "thanks with verified result")

C = Cat("silent_move_on")
C(1, "Write a SQL query for the ten customers with the highest revenue in 2023. Tables: customers(id,name), orders(customer_id,total,created)",
  "SELECT c.name, SUM(o.total) AS revenue FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.created >= '2023-01-01' AND o.created < '2024-01-01' GROUP BY c.id, c.name ORDER BY revenue DESC LIMIT 10;",
  "Now give me the same query as a view named top_customers.", "builds on the result without a word about it")
C(1, "Step 1: set up a virtualenv for the project",
  R("", sh("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt")),
  T("Successfully installed flask-3.0.0 jinja2-3.1.2") + [u("next, step 2: write a hello world route in app.py")],
  "tool success and the user goes to the next step")
C(1, "Draft the introduction of my essay on coral reefs (100 words)",
  "Coral reefs cover less than one percent of the sea floor, yet a quarter of all marine species depend on them. ...",
  "ok on to paragraph two: threats", "moves to the next paragraph")
C(1, [u("Plan a menu for Saturday, 6 guests, one vegetarian."),
      a("Starter: roasted beetroot with goat's cheese. Main: mushroom risotto, with or without ham. Dessert: panna cotta."), u("Risotto recipe?")],
  "For 6: 480 g arborio, 600 g mushrooms, 2 shallots, 1.4 l stock, 150 ml white wine, 80 g butter, 100 g parmesan. Sweat the shallots, toast the rice, add wine, then stock by the ladle for 18 minutes. Fold in mushrooms, butter and cheese.",
  "And what wine goes with it?", "follow-up that takes the recipe as settled")
C(1, "Rename all .jpeg to .jpg in ~/pics",
  R("", sh("cd ~/pics && for f in *.jpeg; do mv -n \"$f\" \"${f%.jpeg}.jpg\"; done; ls | head")),
  T("beach.jpg\nboat.jpg\ncat.jpg") + [u("ok and now sort them into folders by year taken")], "done, next job on the same files")
C(1, "Solve 2x + 6 = 20, show steps", "2x = 14, so x = 7.", "Question 2: 5x - 3 = 2x + 9", "homework goes to the next exercise")
C(1, "What is the Kubernetes command to restart a deployment?", "kubectl rollout restart deployment/<name>",
  "and how do i watch the progress of that restart?", "the next question presupposes that this one was answered")
C(1, "Übersetze den ersten Absatz ins Englische: 'Wir freuen uns auf Ihren Besuch.'", "We look forward to your visit.",
  "Zweiter Absatz: 'Parkplätze finden Sie hinter dem Haus.'", "German: next paragraph", lang="de")
C(1, "suggest five titles for a talk on technical debt",
  "1. Borrowed Time\n2. Interest Rates for Engineers\n3. Who Pays for Quick?\n4. The Credit Card in Your Codebase\n5. Debt, Default, Delete",
  "I'll take number 4. Write an abstract of 120 words for it.", "picks one and goes on")
C(1, [s("You are a calendar assistant. Tools: create_event, list_events."), u("put dentist on thursday 9am, 45 min")],
  R("", c("create_event", title="Dentist", start="2025-03-13T09:00", minutes=45)),
  T('{"id": "ev_88", "status": "confirmed"}') + [u("set a reminder for it the evening before")], "event made, user adds the next thing")
C(1, "First define the data model for a library app, just entities",
  "Book(isbn, title, author_id, copies), Author(id, name), Member(id, name, joined), Loan(id, isbn, member_id, due, returned)",
  "now the REST endpoints", "terse next step")
C(1, "Give me a chord progression in A minor for a sad verse", "Am, F, C, G, then Am, F, Dm, E for the turn.",
  "ok recorded that. bridge?", "the reply was used; asks for the next part")
C(1, "Which visa do I need as a German citizen for 2 weeks of holiday in Vietnam?",
  "For stays of up to 45 days German citizens need no visa; your passport must be valid for six more months.",
  "Good, then flights: what's the cheapest month to go from Frankfurt?", "the matter is settled, next planning step")
C(1, "Fix the failing import in utils/date.py",
  R("", c("edit_file", path="utils/date.py", old="from datetme import", new="from datetime import")),
  T("1 replacement made") + [u("run the tests")], "asks for the next step after an edit")
C(1, "Name the four chambers of the heart.", "Right atrium, right ventricle, left atrium, left ventricle.",
  "Next card: the valves between them.", "flash cards: on to the next")
C(1, "Write the commit message for this diff: adds retry with back-off to the S3 client",
  "s3: retry failed requests with exponential back-off", "committed. PR description too please", "reply was used; next artefact")
C(1, "Traduis le bouton 'Save draft' en français pour l'interface", "« Enregistrer le brouillon »",
  "Bouton suivant : 'Discard changes'", "French: next item", lang="fr")
C(1, "Estimate paint for a room 4x5 m, 2.5 m high, two coats",
  "Walls: 2 × (4+5) × 2.5 = 45 m², minus about 4 m² for door and window = 41 m². Two coats at 10 m²/l: about 8.2 l, so buy 10 l.",
  "then the ceiling as well, one coat", "extends the estimate without objection")
C(1, "List the risks for our data-centre move in a table with owner and mitigation",
  "| Risk | Owner | Mitigation |\n|---|---|---|\n| Cables delivered late | Ops | Order now, spare set |\n| Backup fails | DBA | Test restore a week before |\n| Access badge missing | Facilities | List of names by Friday |",
  "Copied into the deck. Slide 5 is the timeline; dates are 3 May freeze, 10 May move, 17 May review.", "used and moved on")
C(1, "Create a branch feature/login from main",
  R("", sh("git switch main && git pull --ff-only && git switch -c feature/login")),
  T("Already up to date.\nSwitched to a new branch 'feature/login'") + [u("add an empty login.ts in src/auth and open it")], "next step in the same flow")
C(1, "What does 'nolens volens' mean?", "It is Latin for \"willing or not\".", "and 'mutatis mutandis'?", "same kind of question again: the former was answered")
C(1, "Interview question practice: ask me one about system design",
  "How would you design a URL shortener that handles 10,000 new links a second?",
  "I'd start with an id generator, base62, a key-value store and a cache in front. Reads dominate...", "the user plays along: the reply did its job")
C(1, "Outline a 20-minute workout without equipment",
  "5 min warm-up; 3 rounds of 40 s squats, push-ups, lunges, plank with 20 s rest; 3 min stretching.",
  "day 2?", "two words that continue the plan")
C(1, "把这句话改得更正式一些：我们明天会把货发过去。", "我们将于明日安排发货。", "下一句：有问题随时找我。", "Chinese: next sentence", lang="zh")
