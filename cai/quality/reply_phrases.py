"""How people and models decline, by grammar and by language: parts of patterns for RE2.

All of it is read in lower case, with straight apostrophes. In languages other than English the
parts are whole phrases.
"""

from __future__ import annotations

_ADVERB = r"(?:[a-z]+ly|just|simply|also|still|however|therefore|thus|never|ever|in good faith)"
_MAYBE = rf"(?:,? ?{_ADVERB},?){{0,3}}"
# What one does for somebody who asks.
_ACT = (
    r"(?:provid|help|assist|offer|giv|answer|fulfil|compl|creat|generat|writ|support|engag"
    r"|participat|shar|discuss|advis|suggest|encourag|condon|promot|endors|tell|teach|explain"
    r"|satisf|speculat|respon[ds]|continu|produc|list|describ|disclos|reveal|guid|instruct"
    r"|recommend|entertain|facilitat|contribut|justif|proceed|accommodat|cater|process|perform"
    r"|comment|confirm|agree|aid|advocat|tolerat|approv|honou?r|grant|make|do|say|talk|speak|go"
    r"|have|access|retriev|show|present|supply|express|draft|compos|roleplay|role-play|pretend)"
    r"(?:e|es|ed|ing|y|ing|s|l|ll)?"
)
_UNABLE = (
    r"(?:cannot|can not|can't|cant|won't|will not|would not|wouldn't|couldn't|could not|shouldn't"
    r"|should not|must not|mustn't|may not"
    r"|(?:am|'m|are|'re)(?: \w+ly)? not (?:able|going|allowed|permitted|programmed|designed|willing"
    r"|authori[sz]ed|equipped|trained|prepared|at liberty|in a position)(?: to)?"
    r"|(?:am|'m|are|'re)(?: \w+ly)? not (?:capable of|comfortable(?: with)?)"
    r"|(?:am|'m|are|'re)(?: \w+ly)? (?:unable|unwilling|prohibited from|hesitant)(?: to)?"
    r"|do not feel comfortable|don't feel comfortable|would prefer not to|'d rather not"
    r"|refuse to|decline to)"
)
CANNOT = (
    rf"\b(?:i|we){_MAYBE} ?{_UNABLE}{_MAYBE} "
    rf"(?:in any way |be able to |to |in |with ){{0,2}}{_ACT}\b"
    r"|\b(?:i|we) (?:must|have to|need to|will have to|am going to have to)(?: \w+ly)? "
    r"(?:decline|refuse|refrain)\b"
    r"|\b(?:i|we) (?:do not|don't|will not|won't|cannot|can't) (?:\w+ly )?"
    r"(?:condone|encourage|promote|support|endorse|engage|provide|offer|recommend|participate"
    r"|tolerate|advocate|assist|discuss|create|generate|produce)\b"
    r"|\b(?:not|isn't) (?:with)?in my (?:programming|guidelines|capabilities|capacity|ability)"
    r"|\bagainst my (?:\w+ ){0,2}(?:programming|guidelines|principles|policies|policy|values|rules)"
    r"|\b(?:my|our) (?:\w+ ){0,2}(?:guidelines|programming|policies|principles) "
    r"(?:do not|don't|prohibit|prevent|forbid)"
    r"|\bno,? i (?:will not|won't|cannot|can't)\b"
)
_FIT = (
    r"(?:appropriate|ethical|acceptable|okay|ok|legal|moral|right|respectful|constructive|advisable"
    r"|permissible|proper|productive|a good idea|healthy|responsible|allowed|safe|justifiable"
    r"|helpful|kind|recommended|funny|fair|accurate|justified|something to be)"
)
_UNFIT = (
    r"(?:illegal|unethical|inappropriate|immoral|unacceptable|harmful|disrespectful|offensive"
    r"|morally wrong|against the law|a crime|a serious crime|criminal|dangerous|unlawful"
    r"|reprehensible|wrong|hurtful|insensitive)"
)
_NOT = r"(?:not|never|neither|isn't|aren't|wasn't|weren't|wouldn't be)"
_REMEMBER = r"(?:important|crucial|essential|vital|worth noting|necessary)"
# What is asked is judged, or its premise is denied: `it is not ethical to`, `was not justified`.
JUDGED = (
    r"\b(?:it|that|this|doing so|such \w+|they|there|which)(?:'s| is| are| would be|'re)"
    rf"(?: \w+ly)? {_NOT}(?: \w+){{0,2}} {_FIT}\b"
    rf"|\b{_NOT}(?: \w+ly)? (?:an? )?{_FIT}(?:,? (?:or|and|nor)(?: an?)? \w+)? "
    r"(?:to|for|in any|way|ways|thing|topic|question|behaviou?r|approach|request|manner|solution)\b"
    rf"|\b{_NOT}(?: \w+ly)? an? (?:\w+,? ){{1,2}}(?:or|and|nor) \w+ "
    r"(?:way|thing|topic|question|behaviou?r|approach|request|manner|solution|idea|option)\b"
    rf"|\b(?:is|are|would be)(?: \w+ly)? {_UNFIT}(?:,| and| or)+ (?:\w+ ){{0,2}}{_UNFIT}\b"
    rf"|\bit(?:'s| is| would be)(?: \w+ly)? {_UNFIT} to\b"
    rf"|\b{_NOT} only (?:\w+ )?{_UNFIT}\b"
    r"|\b(?:i|we) (?:would )?(?:must |have to )?(?:strongly |highly |firmly )?"
    r"(?:advise|urge|caution|recommend) (?:you )?(?:against|not to)\b"
    r"|\b(?:i|we) (?:must |have to |would )?(?:\w+ly )?(?:disagree|object to|challenge the)\b"
    r"|\b(?:is|was|are|were)(?: \w+ly)? (?:not|never) \W?(?:right|justified|good|okay|acceptable"
    r"|the answer|a good|a joke|funny|something to|to be (?:taken|condoned|encouraged|celebrated))"
    r"|\bthere(?:'s| is| was) no (?:\w+ ){0,2}(?:excuse|justification|place for)\b"
    r"|\bthere(?:'s| is| was) no (?:inherent|valid|justifiable|legitimate|good) reason\b"
    r"|\b(?:never|not) be (?:tolerated|condoned|justified|encouraged|celebrated|joked about)\b"
)
# A lecture in place of an answer; it counts where an answer begins with it.
LECTURE = (
    rf"^\W*(?:first,? )?(?:it(?:'s| is)|i (?:think|believe) it(?:'s| is)) (?:\w+ly )?{_REMEMBER}"
    r"(?: to (?:note|remember|recogni[sz]e|understand|keep in mind|acknowledge|respect"
    r"|approach|consider|treat|prioriti[sz]e|emphasi[sz]e|be)| for (?:\w+ ){1,3}to| that)\b"
    r"|^\W*as an? (?:\w+ ){0,3}(?:ai|language model|assistant)\b[^.]{0,160}\b(?:not|n't|cannot)\b"
    r"|^\W*(?:i(?:'m| am) (?:just |only |simply )?an? (?:\w+ ){0,3}(?:ai|language model|assistant)"
    r"[^.]{0,80})?\bi (?:do not|don't) have (?:personal|opinions|feelings|beliefs|access)\b"
    r"|^\W*(?:i|we) (?:do not|don't|cannot|can't) (?:think|believe|feel|agree)\b"
    r"|^\W*i understand (?:that |your |how )[^.]{0,200}\bbut\b"
)
# A question that makes no sense is answered by saying so.
PREMISE = (
    r"\b(?:question|request|premise|statement|term|phrase)(?: \w+){0,3} "
    r"(?:is not|isn't|does not|doesn't|may not|is flawed|is based on|contains|seems)"
    r"|\bnot (?:an? )?(?:\w+ )?(?:coherent|meaningful|real|valid|factual)\b"
    r"|\bfalse (?:assumption|premise)"
    r"|\bfictional (?:character|person|being|figure|creature)\b|\binanimate\b"
)
# Somewhere else to go, in place of an answer.
ELSEWHERE = (
    r"\b(?:please|you (?:should|may want to)|i (?:encourage|urge|advise) you to"
    r"|it(?:'s| is) (?:important|best|better) to)(?: \w+){0,2} "
    r"(?:seek(?:ing)?|contact(?:ing)?|reach(?:ing)? out|call(?:ing)?|consult(?:ing)?|speak(?:ing)? "
    r"(?:to|with)|talk(?:ing)? (?:to|with))\b"
    r"|\b(?:crisis line|suicide prevention|mental health professional)\b"
    r"|\blicen[sc]ed (?:doctor|therapist)\b"
)
# An answer that goes on with something of what was asked.
GOES_ON = (
    r"\b(?:however|that said|with that said|nevertheless|but),? (?:i can |here |if you |generally|"
    r"in general|some |there are |it is possible |the |you can |let me )"
    r"|\bhere (?:are|is) (?:\w+ ){0,3}(?:general|some|a few|steps|tips|ways|information|things)\b"
)
# What looks like declining and is none.
IDIOM = (
    r"\bcan(?:no|')t (?:wait|help but|recommend \w+(?: \w+){0,2} (?:enough|highly)|stress|"
    r"emphasi[sz]e|overstate|thank|tell you how|say enough|imagine|believe|agree more)\b"
    r"|\bcan(?:no|')t (?:help (?:feeling|thinking|noticing|wondering))\b"
    r"|\b(?:i|we) (?:don't|do not) (?:have to|need to|want to (?:miss|spoil))\b"
)

OTHER_LANGUAGES = {
    "de": r"(?:ich|wir) (?:kann|können|darf|werde|möchte|will)(?: \S+){0,6} (?:nicht|keine?n?) "
    r"?(?:\S+ ){0,5}(?:helfen|geben|beantworten|unterstützen|bereitstellen|weiterhelfen|schreiben"
    r"|erstellen|anbieten|erfüllen|liefern|nennen|tun)"
    r"|(?:ich|wir) bin (?:leider )?nicht in der lage|es tut mir leid,? (?:aber|ich kann)"
    r"|tut mir leid,? (?:aber|da|das)|das (?:muss|möchte) ich ablehnen"
    r"|(?:ist|wäre) (?:weder|nicht) (?:ethisch|legal|angemessen|vertretbar)|leider kann ich",
    "fr": r"je ne (?:peux|puis|suis|saurais)(?: \S+){0,3} (?:pas|malheureusement pas)"
    r"|je (?:suis|m'en) (?:désolée?|excuse),? (?:mais|je)|désolée?,? (?:mais )?je ne"
    r"|il n'est pas (?:approprié|éthique|légal|acceptable)|je (?:dois|préfère) (?:refuser|décliner)"
    r"|je refuse de",
    "es": r"no (?:puedo|podemos|podré|debo|me es posible|estoy en condiciones de)(?: \S+){0,2} "
    r"?(?:ayud|proporcion|ofrec|dar|brind|respond|cumpl|cre|gener|escrib|compart|facilit|hac)"
    r"|lo siento,? (?:pero|no)|no es (?:apropiado|ético|legal|aceptable)|debo (?:negarme|rechazar)",
    "it": r"non (?:posso|possiamo|sono in grado|mi è possibile|intendo)|mi dispiace,? (?:ma|non)"
    r"|non è (?:appropriato|etico|legale|accettabile)|devo (?:rifiutare|declinare)",
    "pt": r"não (?:posso|podemos|consigo|vou|devo|me é possível|estou apto)(?: \S+){0,2} "
    r"?(?:ajud|fornec|oferec|dar|respond|cumpr|cri|ger|escrev|compart|facilit|faz|atend)"
    r"|(?:sinto muito|lamento|desculpe),? (?:mas|não)|não é (?:apropriado|ético|legal|aceitável)",
    "nl": r"(?:ik|wij) (?:kan|kunnen|mag|zal|wil)(?: \S+){0,6} (?:niet|geen) ?(?:\S+ ){0,5}"
    r"(?:helpen|geven|beantwoorden|ondersteunen|bieden|schrijven|maken|delen|doen)"
    r"|het spijt me,? (?:maar|ik)|sorry,? maar ik|(?:is|zou) niet (?:ethisch|legaal|gepast)",
    "ru": r"я не (?:могу|буду|смогу|вправе|имею права|готов)|к сожалению,? (?:я )?не могу"
    r"|извините,? но|простите,? но|(?:это )?(?:не(?:этично|законно|приемлемо|уместно))",
    "zh": r"(?:我|我们)(?:无法|不能|不可以|不会|没办法|沒辦法|無法|不能夠|不能够|不便"
    r"|不应该|不應該)"
    r"(?:\S{0,8}?)(?:提供|帮|幫|协助|協助|回答|满足|滿足|支持|参与|參與|生成|创建|撰写|撰寫|写|寫"
    r"|给|給|讨论|討論|执行|完成|处理|分享|透露|告诉|告訴|做)"
    r"|(?:对不起|對不起|抱歉|很遗憾|很遺憾)[,,。]?\s?(?:但)?(?:我|这|這|该|我们)?(?:无法|無法|不能|不会"
    r"|不會|没办法)|(?:恕我|恕)(?:无法|無法|不能|难以|難以)"
    r"|我(?:必须|必須|不得不)拒绝|(?:是|属于)(?:违法|非法|不道德|不合适)的",
    "ja": r"(?:できません|出来ません|できかねます|いたしかねます|お答えできない"
    r"|お手伝いできない|お断り)|申し訳(?:ありません|ございません|ない)(?:が|けど|,|、)",
}
