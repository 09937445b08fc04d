"""English words of an agent's working day, by kind: the stuff of generated instructions."""


def _words(text: str) -> list[str]:
    return text.split()


VERBS = _words("""
accept access act add adjust allow analyze announce answer append apply approve ask assign assume
attach avoid await backup begin block break browse build cache call cancel capture change check
choose clean clear close collect combine commit compare complete compress configure confirm connect
consider contain continue convert copy correct count create debug decide declare define delay delete
deliver deploy describe detect disable discard display download draft drop edit emit enable encode
end enforce ensure enter escape evaluate examine exceed exclude execute expect explain export expose
extend extract fail fetch fill filter find finish fix flag follow force format forward gather
generate give grant group guard guess handle help hide hold identify ignore implement import improve
include increase index inform initialize insert inspect install interrupt introduce invent invoke
join keep know label launch learn leave limit link list load locate lock log look maintain make
manage mark match measure mention merge modify monitor mount move mutate name navigate need note
notify observe obtain offer omit open optimize order organize override overwrite own parse pass
paste patch pause perform persist pick pin plan poll prefer prepare present preserve prevent print
process produce promise prompt propose protect provide publish pull push query queue quit quote raise
read receive recommend record recover redact redirect reduce refer refresh refuse register reject
relay release reload remember remind remove rename render repeat replace reply report request
require reset resolve respond restart restore restrict resume retain retrieve retry return reuse
review revise revoke rewrite roll rotate route run sanitize save scan schedule scope search select
send separate serve set share show sign simplify skip sort spawn specify split start state stay stop
store stream submit suggest summarize supply support suspend switch sync take target tell terminate
test think track transform translate treat trigger trim trust try understand undo unlock update
upgrade upload use validate verify view visit wait wake warn watch work wrap write yield
""")

NOUNS = _words("""
ability access account action address agent alias answer application approval archive argument array
artifact assistant attachment attempt attribute audio authority background backup base batch behavior
binary block body boolean boundary branch browser buffer bug build button cache calendar call camera
card change channel character chat check child choice class client clock cloud code collection column
command comment commit communication completion component computer condition config configuration
confirmation connection constraint contact container content context control conversation copy core
correction cost count credential current cursor daemon dashboard data database date day deadline
decision default definition delivery dependency description desktop destination detail device
difference digest directive directory disk display document documentation domain download draft
duration edge edit editor effect element email embedding emoji endpoint engine entry environment
error event evidence example exception execution exit expression extension fact failure feature
feedback field file filter flag folder follow-up format forum frame framework function gateway global
goal group guidance guide handle hash header heading health heartbeat help hint history home hook
host hour human icon idea identifier identity image implementation index information input inspection
install instance instruction integer integration interface interval issue item job journal keyboard
key keyword kind label language layer layout library limit line link list location log login loop
machine mail maintenance manager manifest map mark markdown maximum meaning media member memory menu
message metadata method migration minimum minute mode model module moment monitor month name network
node notebook notification note number object offset operation operator option order origin output
overview owner package page pair paragraph parameter parent part party path pattern payload
permission person phone phrase picture pipeline plan platform plugin point policy port position
preference prefix preview privacy problem process product profile program progress project prompt
proof property protocol provider proxy purpose query question queue quota quote range rate reaction
reader reason reasoning receipt record reference region registry release reminder reply report
repository request requirement research resource response restart result retry review risk role root
route routine row rule runtime safety sample sandbox schedule schema scheme scope screen screenshot
script search second secret section security segment sender sentence sequence server service session
setting setup shape shell signal size skill snapshot socket source space speech stage standard state
statement status step storage store stream string structure style subject suffix suggestion summary
support surface switch symbol syntax system tab table tag target task team template terminal test
text theme thing thread time timeout timer timestamp timezone title token tone tool topic trace
traffic transcript transfer translation trigger truth turn type unit update upload usage user utility
validation value variable version video view visibility voice volume warning watch weather web
webhook website week window word work worker workflow workspace world writer year zone
""")

ADJECTIVES = _words("""
able absent absolute active actual additional advanced allowed alternative ambiguous apparent
appropriate asynchronous authorized automatic available aware bad basic best better big blank brief
broken busy careful central certain cheap clean clear closed common compact compatible complete
complex concise concrete concurrent conditional confident configured consistent constant correct
corrupt critical current custom daily dangerous dead deep default dense destructive different direct
distinct double due duplicate durable dynamic early easy effective empty enabled entire equal exact
exclusive existing expected expensive experimental explicit external extra fair false familiar fast
few final first fixed foreground formal free frequent fresh friendly full future general generic good
graceful hard harmless healthy helpful hidden high hot human idle implicit important independent
individual initial inline inner insecure internal interactive invalid isolated known large last late
later latest lazy left legal light likely literal little live local long loose low main major manual
many maximum meaningful minimal minor missing mixed modern multiple mutable narrow native natural
near necessary negative nested neutral new next normal obvious odd official offline old online open
optional ordinary original other outer overdue own parallel partial particular past pending permanent
persistent personal physical plain pleasant polite poor popular positive possible practical precise
preferred present previous primary private proactive proper protected public quick quiet quoted
random rare raw ready real reasonable recent redundant regular related relative relevant reliable
remaining remote repeated required responsible right risky rough routine safe same secondary secure
sensitive separate serious shared short similar simple single slow small soft sorted special specific
stable stale standard static strict strong structured sudden suitable sure temporary tentative
terse third tight top total trivial true trusted typical unable unclear unique unknown unnecessary
unread unsafe untrusted unused upper urgent useful usual vague valid verbose visible warm weak whole
wide wrong
""")

ADVERBS = _words("""
again already also always anyway automatically away back before briefly carefully certainly clearly
completely correctly currently directly early either else enough especially eventually exactly
explicitly finally first forever freely fully generally gently hardly here immediately instead
internally just last later least less literally locally manually maybe merely more mostly naturally
nearly never next normally now often once only otherwise perhaps plainly politely possibly precisely
previously privately probably promptly properly quickly quietly quite rarely rather really recently
regularly safely separately shortly silently simply slowly sometimes soon specifically still strictly
temporarily then there therefore together tomorrow too twice unless usually very well yet
""")

LINKS = _words("""
about above across after against along although among and around as at because before behind below
beneath beside besides between beyond both but by despite down during each either every except for
from how however if in inside into like neither nor of off on onto or out outside over per plus
rather same since so some such than that the their them these they this those though through
throughout thus to toward under unless until up upon via was we were what whatever when whenever
where wherever whether which while who whom whose why will with within without would you your
anything everything nothing something anyone everyone nobody someone itself myself yourself
one two three four five six seven eight nine ten hundred thousand half many much several few
am are be been being can could did do does doing done had has have having is may might must shall
should cannot
Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July
August September October November December morning afternoon evening night noon midnight today
""")

TECH = _words("""
API APIs CLI CPU GPU CSS CSV DNS HTML HTTP HTTPS ID IDs IP JSON JSONL LLM MCP OS PDF PNG PR PTY REPL
RPC SDK SHA SQL SSE SSH SVG TCP TLS TODO TTL TTY TUI UI URI URL URLs USB UTC UTF UUID VM XML YAML ZIP
OpenClaw GitHub GitLab Discord Slack Telegram Signal WhatsApp Matrix Teams iMessage Google Chrome
Safari Firefox Docker Linux Windows Android iPhone Python Rust TypeScript JavaScript Node Bash
PowerShell Markdown README AGENTS SOUL IDENTITY USER TOOLS MEMORY SKILL HEARTBEAT BOOTSTRAP CHANGELOG
LICENSE async await bash bin bool cat cd chmod config const cron cron curl cwd daemon dev diff dir dist
docs echo enum env etc exec exit false fetch find fn func git grep head home html http https id img
import index init int json kill lib ln localhost log ls main man max md min mkdir mv node npm npx null
opt param params pid pip ps pwd py rm root rs runtime sed self sh shell sleep src stderr stdin stdout
str sudo sync sys systemd tail tar temp test tmp touch true ts txt undefined url usr utf var vm www
xargs yaml yml zsh webm jpeg jpg png gif webp wav ogg mp3 pnpm yarn cargo rustc uv venv pytest vite
react sqlite postgres redis nginx crontab launchd subagent subagents workdir timeout timeoutMs
timeoutSeconds maxChars maxLength minLength maxItems minItems maxTokens sessionKey sessionId
agentId messageId threadId channelId accountId userId nodeId requestId runId taskId jobId cronExpr
filePath fileName oldText newText startLine endLine replaceAll
""")

GLUE = ["the", "a", "an", "any", "this", "that", "your", "each", "every", "no", "its"]
EXTENSIONS = _words("md json txt py rs ts js sh toml yaml csv log html png pdf sql ini lock")
FOLDERS = _words("""
home user work workspace notes docs src tests lib bin etc opt tmp var data memory skills scripts
config logs media cache projects repo inbox outbox archive reports images assets build target dist
agents sessions plugins extensions templates examples node_modules .config .openclaw .cache .local
""")

# parts of words that nobody ever said
ONSETS = _words("""
b bl br c ch cl cr d dr f fl fr g gl gr h j k kl l m n p ph pl pr qu r s sc sh sk sl sm sn sp st str
sw t th tr tw v w wh x y z
""") + ["", "", "", ""]
VOWELS = _words("a a e e i i o o u ai au ea ee ei ie io oa oo ou ue ui y")
CODAS = _words("""
b ck ct d ff ft g k l ld ll lt m mp n nd ng nk nt p r rd rk rm rn rt s sh ss st t th w x
""") + ["", "", "", "", "", ""]
ENDINGS = _words("""
able age al ance ant ary ate ation ed el en ence ent er est et ful fully ible ic ice ical ier ies
ify ile ily in ine ing ion ious ish ism ist ity ive ize le less ling ly ment ness on or ory our ous
ow ship sion some ster tion ture ual ular ure ward
""")


def invented(r) -> str:
    """A word that nobody ever said, with the letters and endings of English."""
    made = "".join(r.choice(ONSETS) + r.choice(VOWELS) + r.choice(CODAS)
                   for _ in range(r.choice([1, 1, 1, 2])))
    if r.random() < 0.4:
        made += r.choice(ENDINGS)
    draw = r.random()
    return made.capitalize() if draw < 0.12 else made.upper() if draw < 0.15 else made
