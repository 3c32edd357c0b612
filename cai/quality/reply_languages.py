"""How answers decline in languages other than English: parts of patterns for RE2, in lower case.

Each language has the grammar of English in its own order: a verb of inability or unwillingness with
its negation, an act of helping, and what is no refusal though it looks like one.
"""

from __future__ import annotations

_IN = r"[^.!?,;:\n]*"  # inside a clause
_CLAUSE = r"[^.!?\n]{0,80}"

_DE_ACT = (
    r"(?:helfen|weiterhelfen|geben|beantworten|unterstützen|bereitstellen|schreiben|verfassen"
    r"|erstellen|anbieten|erfüllen|liefern|nennen|tun|machen|teilen|verraten|erklären|sagen"
    r"|dienen|mitwirken|mitmachen|nachkommen|entsprechen|gutheißen|befürworten|empfehlen|behilflich"
    r"|fördern|beteiligen|herausgeben|preisgeben|generieren|beschreiben|erzählen|beraten"
    r"|beurteilen)"
)
_FR_ACT = (
    r"(?:aider|assister|fournir|donner|répondre|écrire|rédiger|créer|générer|partager|faire"
    r"|proposer"
    r"|offrir|satisfaire|accéder|expliquer|dire|participer|soutenir|encourager|divulguer|révéler"
    r"|cautionner|recommander|produire|continuer|accepter|traiter|promouvoir|approuver|conseiller)"
)
_ES_ACT = (
    r"(?:ayud\pL*|proporcion\pL*|ofrec\pL*|dar\pL*|brind\pL*|respond\pL*|cumpl\pL*|crear\pL*"
    r"|gener\pL*"
    r"|escrib\pL*|compart\pL*|facilit\pL*|hacer\pL*|asist\pL*|apoy\pL*|explic\pL*|decir\pL*"
    r"|particip\pL*"
    r"|revel\pL*|divulg\pL*|redact\pL*|aconsej\pL*|promov\pL*|foment\pL*|satisf\pL*|acced\pL*"
    r"|atend\pL*)"
)
_IT_ACT = (
    r"(?:aiut\pL*|assist\pL*|forni\pL*|dar\pL*|rispond\pL*|scriver\pL*|crear\pL*|gener\pL*"
    r"|condivid\pL*"
    r"|far\pL*|offri\pL*|soddisf\pL*|spieg\pL*|dir\pL*|partecip\pL*|sosten\pL*|rivel\pL*|divulg\pL*"
    r"|consigli\pL*|incoraggi\pL*|promuov\pL*|redig\pL*|prest\pL*|esaudi\pL*)"
)
_PT_ACT = (
    r"(?:ajud\pL*|auxili\pL*|fornec\pL*|oferec\pL*|dar\b|dizer|respond\pL*|cumpr\pL*|criar\pL*"
    r"|ger\pL*"
    r"|escrev\pL*|compartilh\pL*|partilh\pL*|facilit\pL*|faz\pL*|atend\pL*|explic\pL*|particip\pL*"
    r"|apoi\pL*"
    r"|revel\pL*|divulg\pL*|promov\pL*|incentiv\pL*|redig\pL*|aconselh\pL*)"
)
_NL_ACT = (
    r"(?:helpen|geven|beantwoorden|ondersteunen|bieden|schrijven|maken|delen|doen|verstrekken"
    r"|leveren|meewerken|meehelpen|uitleggen|vertellen|zeggen|voldoen|assisteren|opstellen"
    r"|aanmoedigen"
    r"|bijstaan|verlenen|aanraden|genereren|deelnemen)"
)
_RU_ACT = (
    r"(?:помо[чг]\pL*|помога\pL*|предостав\pL*|дать|дава\pL*|ответ\pL*|отвеча\pL*|написа\pL*|писать"
    r"|созда\pL*|сдела\pL*|делать|подел\pL*|дели\pL*|обсужда\pL*|рассказ\pL*|выполн\pL*"
    r"|поддерж\pL*|сказать"
    r"|объясн\pL*|участвова\pL*|раскры\pL*|сгенерир\pL*|генерир\pL*|советова\pL*|назвать|сообщ\pL*"
    r"|одобр\pL*)"
)
_ZH_ACT = (
    r"(?:提供|帮|幫|协助|協助|回答|满足|滿足|支持|参与|參與|生成|创建|創建|撰写|撰寫|编写|編寫|写"
    r"|寫"
    r"|给你|給你|给您|給您|讨论|討論|执行|執行|完成|处理|處理|分享|透露|告诉|告訴|这样做|這樣做"
    r"|这么做"
    r"|這麼做|做这|做這|照做|答应|答應|鼓励|鼓勵|赞同|贊同|同意|推荐|解释|解釋|编造|編造)"
)
_ZH_NOT = (
    r"(?:无法|無法|不能|不可以|不会|不會|没办法|沒辦法|没法|沒法|不能夠|不能够|不便|不应该|不應該"
    r"|不愿意?|不願意?|不打算|不想|拒绝|拒絕|难以|難以)"
)

DECLINES = {
    "de": rf"\b(?:ich|wir) (?:kann|können|darf|dürfen|werde|werden|möchte|will|würde){_IN}"
    rf" ?\b(?:nicht|keine?[nrms]?|nichts)\b{_IN}\b{_DE_ACT}\b"
    rf"|\b(?:kann|darf|werde|möchte|will) ich\b{_IN}\b(?:nicht|keine?[nrms]?)\b{_IN}\b{_DE_ACT}\b"
    r"|\bleider (?:kann|darf|muss) ich\b[^.!?\n]*\b(?:nicht|keine?[nrms]?|ablehnen)\b"
    r"|\b(?:bin|sehe mich)(?: \pL+){0,2} (?:nicht in der lage|außerstande)"
    rf"|tut mir (?:sehr |wirklich )?leid,? (?:aber )?(?:da|das|dabei|ich"
    rf"|hier)\b{_CLAUSE}\b(?:nicht|keine?n?)\b"
    r"|\b(?:muss|möchte|werde) (?:ich )?(?:\pL+ ){0,4}(?:ablehnen|verweigern)\b"
    r"|\bich (?:weigere mich|lehne)\b"
    r"|\b(?:ist|wäre|sind) (?:\pL+ )?(?:weder|nicht) (?:ethisch|angemessen|vertretbar|in ordnung"
    r"|richtig,)"
    r"|\b(?:ist|wäre) (?:unethisch|unmoralisch|unangebracht|unangemessen)"
    r"|\b(?:dabei|das|da|hierbei) (?:helfe|mache|unterstütze|schreibe|tue) ich (?:\pL+ )?nicht\b",
    "fr": rf"\bje ne (?:peux|puis|suis|saurais|pourrai|vais|veux|souhaite|dois)\b{_IN}\bpas\b"
    rf"{_IN}[ ']{_FR_ACT}\b|\bje ne (?:peux|puis|saurais|vais) (?:malheureusement )?(?:pas |rien )?"
    rf"(?:vous |te |t'|l'|le |la |les |en |y )?{_FR_ACT}\b"
    r"|\bje ne suis (?:malheureusement )?pas (?:en mesure|capable|autorisée?|à l'aise|disposée?)"
    r"|\bil (?:n'est|ne serait|n'est vraiment) pas (?:approprié|éthique|acceptable|convenable)"
    r"|\b(?:je (?:dois|préfère)(?: \pL+)? (?:refuser|décliner)|je (?:me )?refuse|je décline)\b"
    r"|\b(?:désolée?|regrette),? (?:mais )?(?:je ne|c'est impossible|ce n'est pas)\b",
    "es": rf"\bno (?:puedo|podemos|podré|debo|voy a|quiero|me es posible|me siento cómod[oa]"
    rf"|estoy (?:en condiciones de|autorizad[oa] (?:a|para)|dispuest[oa] a)) {_IN}\b{_ES_ACT}"
    r"|\b(?:lo siento|lamento|lo lamento|disculpa|perdona),?(?: pero)?,? no (?:puedo|podré|me es"
    r"|voy a)\b"
    r"|\bno (?:es|sería) (?:apropiado|ético|aceptable|correcto)\b"
    r"|\b(?:debo|tengo que|prefiero)(?: \pL+)? (?:negarme|rechazar|declinar)\b|\bme niego\b",
    "it": rf"\bnon (?:posso|possiamo|potrò|sono in grado di|mi è possibile|intendo|voglio"
    rf"|me la sento di)"
    rf" {_IN}\b{_IT_ACT}|\b(?:mi dispiace|spiacente|purtroppo),?(?: ma)?,? non "
    r"(?:posso|sono in grado|mi è possibile|intendo)\b"
    r"|\bnon (?:è|sarebbe) (?:appropriato|etico|accettabile|corretto)\b"
    r"|\b(?:devo|preferisco)(?: \pL+)? (?:rifiutare|declinare|rifiutarmi)\b|\bmi rifiuto\b",
    "pt": rf"\bnão (?:posso|podemos|consigo|poderei|vou|devo|quero|me é possível|estou apt[oa] a"
    rf"|me sinto (?:confortável|à vontade)) {_IN}\b{_PT_ACT}"
    r"|\b(?:sinto muito|lamento|desculpe|desculpa|infelizmente),?(?: mas)?,? (?:eu )?não "
    r"(?:posso|consigo|poderei|vou|me é|sou)\b"
    r"|\bnão (?:é|seria) (?:apropriado|ético|aceitável|correto|adequado)\b"
    r"|\b(?:devo|preciso|tenho de|tenho que|prefiro)(?: \pL+)? (?:recusar|declinar)\b"
    r"|\b(?:recuso-me|me recuso)\b",
    "nl": rf"\b(?:ik|wij|we) (?:kan|kunnen|mag|zal|wil|ga|zou)\b{_IN}\b(?:niet"
    rf"|geen)\b{_IN}\b{_NL_ACT}\b"
    rf"|\b(?:kan|mag|zal|wil|ga) ik\b{_IN}\b(?:niet|geen)\b{_IN}\b{_NL_ACT}\b"
    r"|\bik ben (?:helaas )?niet (?:in staat|bereid|bevoegd)"
    rf"|\b(?:het spijt me|sorry|helaas),? (?:maar )?(?:ik|daar|dat|hier)\b{_CLAUSE}\b(?:niet"
    rf"|geen)\b"
    r"|\b(?:is|zou) (?:\pL+ )?niet (?:ethisch|gepast|aanvaardbaar|acceptabel)\b"
    r"|\bik (?:moet|wil)(?: \pL+){0,3} (?:weigeren|afwijzen)\b|\bik weiger\b",
    "ru": rf"я (?:\S+ )?не (?:могу|буду|смогу|вправе|имею права|готова?|стану|в состоянии"
    rf"|хочу) {_IN}"
    rf"{_RU_ACT}|я не (?:могу|буду|смогу|стану) (?:этого|это|такое|вам|тебе)"
    rf"|(?:к сожалению|извините|простите|прости|извини|сожалею),? (?:но )?{_IN}"
    r"(?:не (?:могу|смогу|буду|имею|вправе)|невозможно|вынуждена? отказ)"
    r"|(?:вынуждена?|должна?|обязана?) (?:вам )?отказ|я отказываюсь|не могу (?:с этим |вам |тебе )"
    r"|(?:это |было бы )(?:не(?:этично|приемлемо|уместно|допустимо))",
    "zh": rf"(?:我|我们|我們"
    rf"|恕我?)[^。！？!?\n，,]{{0,8}}{_ZH_NOT}[^。！？!?\n，,]{{0,12}}{_ZH_ACT}"
    r"|(?:对不起|對不起|抱歉|很遗憾|很遺憾|不好意思)[^。！？!?\n]{0,12}"
    rf"{_ZH_NOT}|(?:这|這)[^。！？\n]{{0,6}}我[^。！？\n]{{0,4}}{_ZH_NOT}"
    r"|我(?:必须|必須|不得不|只能)(?:拒绝|拒絕|婉拒)|我(?:拒绝|拒絕)|我的(?:准则|準則|原则|原則"
    r"|规定|規定)"
    r"|(?:这|這|此)[^。！？\n]{0,12}(?:是|属于|屬於)(?:违法|違法|非法|不道德|不合适|不合適)的?"
    r"|(?:不道德|不合适|不合適|不恰当|不恰當)的(?:行为|行為|要求|请求|請求|问题|問題)",
    "ja": r"(?:お手伝い|お答え|ご協力|お応え|提供|協力|回答|支援|作成|サポート|ご案内|お教え|対応"
    r"|お伝え|開示|手助け|お受け)(?:すること|いたすこと)?(?:は|を|が)?(?:でき(?:ません|ない|かね)"
    r"|出来(?:ません|ない|かね)|いたしかね|致しかね|しかね|しません|いたしません)"
    r"|(?:申し訳|すみません|ごめんなさい|残念ながら|恐れ入り)[^。\n]{0,60}(?:ません|かねます"
    r"|できない|お断り)"
    r"|(?:お断り|遠慮させて)|(?:倫理的|道徳的)に[^。\n]{0,12}(?:問題|許され|不適切)",
}
# What looks like declining and is none.
IDIOMS = (
    r"\bich kann(?: \pL+)? (?:nicht genug|es (?:\pL+ )?(?:kaum|nicht) erwarten|nicht (?:klagen"
    r"|umhin))[^.!?\n]*"
    r"|\bje ne (?:peux|saurais) (?:pas )?(?:assez|que |m'empêcher|trop)[^.!?\n]*"
    r"|\bno puedo (?:esperar|dejar de|evitar|más que)[^.!?\n]*"
    r"|\bnon (?:posso|vedo) (?:che|fare a meno|l'ora)[^.!?\n]*"
    r"|\bnão (?:posso|consigo) (?:deixar de|esperar|parar de)[^.!?\n]*"
    r"|\bik kan niet wachten[^.!?\n]*|я не могу (?:дождаться|не |нарадоваться)[^.!?\n]*"
    r"|(?:我)?(?:迫不及待|不能不|不得不说|不得不說|无法不|忍不住)[^。！？\n]*"
)
# The word by which an answer that declines goes on with something.
CONTRAST = (
    r"(?:^|[.!?\n,]\s*)(?:aber|jedoch|stattdessen kann ich|dennoch|allerdings|was ich (?:tun"
    r"|sagen) kann"
    r"|cependant|toutefois|en revanche|néanmoins|par contre|mais je peux|mais voici"
    r"|sin embargo|en cambio|no obstante|pero (?:puedo|aquí)"
    r"|tuttavia|ma posso|in compenso"
    r"|no entanto|porém|contudo|mas posso|todavia"
    r"|echter|maar ik kan|wel kan ik|daarentegen)\b"
    r"|(?:^|[.!?\n,]\s*)(?:однако|но я могу|но могу|зато|тем не менее|però|pero sí)"
    r"|(?:但我可以|但是我可以|不过|不過|然而|不如|你可以|您可以|我可以|可以试试)"
    r"|(?:しかし|ただし)"
)
# Somewhere else to go, and talk that gives nothing.
ELSEWHERE = (
    r"\b(?:wende(?:n sie)? (?:dich|sich)|such(?:e|en sie) (?:\pL+ )?hilfe"
    r"|(?:sprich|sprechen sie)(?: \pL+){0,2} mit|telefonseelsorge|ruf(?:en sie)? \S+ an"
    r"|(?:kontaktiere|rufe)n?(?: sie)?\b"
    r"|adressez-vous|contactez|parlez(?:-en)? (?:à|avec)|consultez|appelez"
    r"|contact[ae]|acud[ae]|habl[ae] con|consult[ae]|busc[ae] (?:ayuda|apoyo)"
    r"|rivolgiti|si rivolga|contatt[ai]|parl[ai](?:ne)? con|cerca aiuto|consulti"
    r"|procure (?:ajuda|um)|fale com|entre em contato|contacte"
    r"|neem contact|praat met|zoek hulp|raadpleeg|bel (?:de|met|je|het))\b"
    r"|(?:обратитесь|обратись|поговори(?:те)?|позвони(?:те)?|проконсультируйтесь)"
    r"|(?:请|請|建议|建議)[^。！？\n]{0,8}(?:联系|聯繫|聯絡|咨询|諮詢|求助|寻求|尋求|拨打|撥打|找)"
    r"|(?:相談して|ご相談|連絡して|お問い合わせ|専門家に)"
)
TALK = (
    r"(?:weitere fragen|etwas anderes|gerne? (?:helfen|weiter)|autre (?:chose|question)"
    r"|otra (?:cosa"
    r"|pregunta)|algo más|altro|altre domande|outra (?:coisa|pergunta)|mais alguma|iets anders"
    r"|andere vragen"
    r"|друг(?:ой|ие|им) вопрос|что-то (?:ещё|еще|другое)|其他问题|其他問題|别的|別的|随时|隨時"
    r"|他に|ほかに)"
)
