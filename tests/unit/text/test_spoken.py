"""Written English to spoken English: a table of readings, hostile inputs, and properties that hold for any text."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.text.spoken import spoken_form

READINGS = [
    # cardinals and decimals
    ("1,234 houses", "one thousand two hundred thirty-four houses"),
    ("10 000 trees", "ten thousand trees"),
    ("1234567 people", "one million two hundred thirty-four thousand five hundred sixty-seven people"),
    ("1,00,000 rupees", "one hundred thousand rupees"),
    ("0", "zero"),
    ("It is 100.", "It is one hundred."),
    ("3.14", "three point one four"),
    (".5 of it", "point five of it"),
    ("0.05", "zero point zero five"),
    ("It is -5 outside", "It is minus five outside"),
    ("−7", "minus seven"),
    ("one - 2", "one - two"),
    ("1, 2, 3", "one, two, three"),
    ("1,2,3", "one, two, three"),
    ("٣ apples", "three apples"),
    # ordinals and decades
    ("1st, 2nd, 3rd, 4th", "first, second, third, fourth"),
    ("22nd", "twenty-second"),
    ("101st", "one hundred first"),
    ("the 1,000th time", "the one thousandth time"),
    ("20th-century art", "twentieth-century art"),
    ("the 1990s", "the nineteen nineties"),
    ("the 1900s", "the nineteen hundreds"),
    ("the 2000s", "the two thousands"),
    ("the '90s", "the nineties"),
    ("mid-1980s", "mid-nineteen eighties"),
    ("in her 20s", "in her twenties"),
    ("100s of birds", "hundreds of birds"),
    # years
    ("In 1984 he left.", "In nineteen eighty-four he left."),
    ("in 2007", "in two thousand seven"),
    ("in 1905", "in nineteen oh five"),
    ("since 2010", "since twenty ten"),
    ("1066 trees and the year 1066", "one thousand sixty-six trees and the year ten sixty-six"),
    ("1984 people", "one thousand nine hundred eighty-four people"),
    ("over 1500 of them", "over one thousand five hundred of them"),
    ("In 2010 sales fell", "In twenty ten sales fell"),
    ("44 BC and AD 79", "forty-four BC and A-D seventy-nine"),
    ("class of '99", "class of ninety-nine"),
    ("1939–1945", "nineteen thirty-nine to nineteen forty-five"),
    ("1939-45", "nineteen thirty-nine to forty-five"),
    ("room 1408", "room fourteen oh eight"),
    # money
    ("$3.50", "three dollars and fifty cents"),
    ("$1", "one dollar"),
    ("$0.99", "ninety-nine cents"),
    ("£1,000", "one thousand pounds"),
    ("£2.01", "two pounds and one penny"),
    ("€5.99", "five euros and ninety-nine cents"),
    ("€5,99, please", "five euros and ninety-nine cents, please"),
    ("5,99 €", "five euros and ninety-nine cents"),
    ("¥500", "five hundred yen"),
    ("$1.5 million", "one point five million dollars"),
    ("$5bn", "five billion dollars"),
    ("a $5 million deal", "a five million dollar deal"),
    ("a $20 bill", "a twenty dollar bill"),
    ("50¢", "fifty cents"),
    ("US$20", "twenty US dollars"),
    ("20 USD", "twenty US dollars"),
    ("-$5", "minus five dollars"),
    ("$20-30", "twenty to thirty dollars"),
    ("$20–$30", "twenty to thirty dollars"),
    ("$3.50/month", "three dollars and fifty cents per month"),
    ("$1,000.00.", "one thousand dollars."),
    # percent and fractions
    ("50%", "fifty percent"),
    ("3.5 %", "three point five percent"),
    ("10-20%", "ten to twenty percent"),
    ("5%–10%", "five to ten percent"),
    ("1/2", "one half"),
    ("3/4", "three quarters"),
    ("2/3 of us", "two thirds of us"),
    ("½", "one half"),
    ("2½ hours", "two and a half hours"),
    ("2 1/2 cups", "two and a half cups"),
    ("½ km", "half a kilometer"),
    ("8/10", "eight out of ten"),
    ("24/7", "twenty-four seven"),
    ("9/11", "nine eleven"),
    ("120/80", "one hundred twenty over eighty"),
    # ranges and scores
    ("10–20", "ten to twenty"),
    ("pp. 3-7", "pages three to seven"),
    ("won 3-2", "won three to two"),
    ("16:9", "sixteen to nine"),
    # dates
    ("2024-05-17", "May seventeenth, twenty twenty-four"),
    ("2024-05-17T15:45:00Z", "May seventeenth, twenty twenty-four, fifteen forty-five and zero seconds"),
    ("5/17/2024", "May seventeenth, twenty twenty-four"),
    ("17/5/2024", "May seventeenth, twenty twenty-four"),
    ("11/22/63", "November twenty-second, nineteen sixty-three"),
    ("17.05.2024", "May seventeenth, twenty twenty-four"),
    ("May 17, 2024", "May seventeenth, twenty twenty-four"),
    ("May 2024", "May twenty twenty-four"),
    ("May 3-7", "May third to seventh"),
    ("17 May 1999", "the seventeenth of May, nineteen ninety-nine"),
    ("the 17th of May", "the seventeenth of May"),
    ("12/25", "December twenty-fifth"),
    ("on 1/2", "on January second"),
    ("Jan. 5", "January fifth"),
    ("Mon., Jan. 5", "Monday, January fifth"),
    ("Jan. and Mon. are short", "Jan. and Mon. are short"),
    # times
    ("3:30 pm", "three thirty PM"),
    ("3:30 p.m.", "three thirty PM."),
    ("at 7 a.m. on Monday", "at seven AM on Monday"),
    ("at 7 p.m. The door", "at seven PM. The door"),
    ("15:45", "fifteen forty-five"),
    ("12:00", "twelve o'clock"),
    ("14:00", "fourteen hundred"),
    ("00:00", "midnight"),
    ("10:05", "ten oh five"),
    ("9am-5pm", "nine AM to five PM"),
    ("10:00–11:30", "ten o'clock to eleven thirty"),
    # telephone and serial numbers
    ("555-1234", "five five five, one two three four"),
    ("+1 212 555 0199", "plus one, two one two, five five five, zero one nine nine"),
    ("(212) 555-0199", "two one two, five five five, zero one nine nine"),
    ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
    ("1-800-555-1234", "one, eight hundred, five five five, one two three four"),
    ("Call 911.", "Call nine one one."),
    ("123-45-6789", "one two three, four five, six seven eight nine"),
    ("1234567890123", "one two three four five six seven eight nine zero one two three"),
    ("account 12345678", "account one two three four five six seven eight"),
    ("Your order 12345 ships today.", "Your order one two three four five ships today."),
    ("We order 5000 units", "We order five thousand units"),
    ("in case 10000 people come", "in case ten thousand people come"),
    ("see case 10001", "see case one zero zero zero one"),
    ("tracking 25000 users", "tracking twenty-five thousand users"),
    ("tracking number 25000", "tracking number two five zero zero zero"),
    ("I had to call 200 customers", "I had to call two hundred customers"),
    ("Call 311 for help", "Call three one one for help"),
    ("Boston, MA 02134", "Boston, MA zero two one three four"),
    ("007", "double oh seven"),
    ("0042", "zero zero four two"),
    ("192.168.1.1:8004", "one ninety-two dot one sixty-eight dot one dot one colon eight thousand four"),
    # units
    ("5 km", "five kilometers"),
    ("1 km", "one kilometer"),
    ("a 5 km run", "a five kilometer run"),
    ("a 5-km run", "a five kilometer run"),
    ("10kg", "ten kilograms"),
    ("60 mph", "sixty miles per hour"),
    ("80 km/h", "eighty kilometers per hour"),
    ("9.8 m/s²", "nine point eight meters per second squared"),
    ("5'11\"", "five foot eleven"),
    ("6 ft. tall", "six feet tall"),
    ("100 m²", "one hundred square meters"),
    ("20 °C", "twenty degrees Celsius"),
    ("-5°C", "minus five degrees Celsius"),
    ("a 90° turn", "a ninety degree turn"),
    ("3 GB", "three gigabytes"),
    ("2.4 GHz", "two point four gigahertz"),
    ("5 in the morning", "five in the morning"),
    ("5 in. wide", "five inches wide"),
    ("10-20 km", "ten to twenty kilometers"),
    ("1920×1080", "nineteen twenty by ten eighty"),
    ("3x4", "three by four"),
    (
        "It cost HK$500, NZ$20, CA$30 and R$50.",
        "It cost five hundred Hong Kong dollars, twenty New Zealand dollars, thirty Canadian dollars and fifty reais.",
    ),
    ("$-5", "minus five dollars"),
    ("the 2024/25 season", "the twenty twenty-four to twenty-five season"),
    ("1999/00 and 1999/2000", "nineteen ninety-nine to two thousand and nineteen ninety-nine to two thousand"),
    ("2024/26", "two thousand twenty-four over twenty-six"),
    ("123 N Main St.", "one hundred twenty-three North Main Street."),
    ("500 W 5th Ave. is", "five hundred West fifth Avenue is"),
    ("5 N of force and a 60 W LED bulb", "five newtons of force and a sixty watt LED bulb"),
    ("a 10 K run", "a ten K run"),
    ("at 300 K", "at three hundred kelvin"),
    # Roman numerals
    ("See Appendix C for details.", "See Appendix C for details."),
    ("Medicare Part D", "Medicare Part D"),
    ("Class C license, Grade D, Form D, Table M, USB Type C", "Class C license, Grade D, Form D, Table M, USB Type C"),
    ("Class V, Appendix X and Psalm XC", "Class five, Appendix ten and Psalm ninety"),
    ("That was the part I was dreading.", "That was the part I was dreading."),
    ("In the section I and my team wrote", "In the section I and my team wrote"),
    ("part I and part II of section I.", "part one and part two of section one."),
    ("Part I was long", "Part one was long"),
    ("a Type I error in a Phase I trial", "a Type one error in a Phase one trial"),
    ("the Class I took, the Phase I remember", "the Class I took, the Phase I remember"),
    ("The IV was removed.", "The I-V was removed."),
    ("Start IV fluids", "Start I-V fluids"),
    ("Class IV drugs and Rocky IV", "Class four drugs and Rocky four"),
    ("Henry VIII", "Henry the eighth"),
    ("Elizabeth I was queen", "Elizabeth the first was queen"),
    ("Chapter IV", "Chapter four"),
    ("PART II", "PART two"),
    ("World War II", "World War two"),
    ("Rocky II", "Rocky two"),
    ("John Smith III", "John Smith the third"),
    ("the XVIII century", "the eighteenth century"),
    ("Malcolm X and I", "Malcolm X and I"),
    ("Then I went. Mary I know.", "Then I went. Mary I know."),
    # titles and abbreviations
    ("Dr. Smith and Mr. Lee", "Doctor Smith and Mister Lee"),
    ("Mrs. Hill, Ms. Fox, Prof. Li", "Missus Hill, Miz Fox, Professor Li"),
    ("St. Louis", "Saint Louis"),
    ("12 Elm St. in Boston", "twelve Elm Street in Boston"),
    ("on Main St.", "on Main Street."),
    ("5 Oak Dr. is sold", "five Oak Drive is sold"),
    ("5 Oak Dr. Springfield", "five Oak Drive Springfield"),
    ("on Elm Dr. The house", "on Elm Drive. The house"),
    ("He died in 1904 in St. Louis.", "He died in nineteen oh four in Saint Louis."),
    ("In 1999 he met Dr. Smith in Boston.", "In nineteen ninety-nine he met Doctor Smith in Boston."),
    ("Over 30 patients saw Dr. Lee", "Over thirty patients saw Doctor Lee"),
    ("on Monday Dr. Smith and at Harvard Dr. Lee", "on Monday Doctor Smith and at Harvard Doctor Lee"),
    (
        "In 2019 CEO Dr. Lee came, on 4 May Dr. Hill.",
        "In twenty nineteen CEO Doctor Lee came, on the fourth of May Doctor Hill.",
    ),
    ("10 miles from St. Paul", "ten miles from Saint Paul"),
    ("12 Elm St. Boston", "twelve Elm Street Boston"),
    ("42nd St. Station", "forty-second Street Station"),
    ("The eruption of Mount St. Helens", "The eruption of Mount Saint Helens"),
    ("on Lake St. Clair, on Lake St. in town", "on Lake Saint Clair, on Lake Street in town"),
    ("Ask the Dr. about it.", "Ask the Doctor about it."),
    ("The Dr. says so.", "The Doctor says so."),
    ("Did the Dr. say so?", "Did the Doctor say so?"),
    ("Fifth Ave. is full", "Fifth Avenue is full"),
    ("No. 5", "Number five"),
    ("He said no. 5 left.", "He said number five left."),
    ("He said no.", "He said no."),
    ("He took vitamin C. 20 people did too.", "He took vitamin C. twenty people did too."),
    ("C. 1900 it was built, c. 1850 begun.", "Circa nineteen hundred it was built, circa eighteen fifty begun."),
    ("Mt. Everest", "Mount Everest"),
    ("cats vs. dogs", "cats versus dogs"),
    ("pears, etc.", "pears, et cetera."),
    ("pears, etc. The rest", "pears, et cetera. The rest"),
    ("e.g. plums, i.e. fruit", "for example plums, that is fruit"),
    ("King Jr. spoke", "King Junior spoke"),
    ("Apple Inc. is", "Apple Incorporated is"),
    ("approx. 5", "approximately five"),
    ("the U.S. and the U.K.", "the US and the UK."),
    ("a Ph.D. in physics", "a PhD in physics"),
    ("J. R. R. Tolkien", "J R R Tolkien"),
    ("J.K. Rowling", "J K Rowling"),
    ("George W. Bush", "George W Bush"),
    ("Vitamin C. The end.", "Vitamin C. The end."),
    ("plan B. Then we go", "plan B. Then we go"),
    # symbols
    ("salt & pepper", "salt and pepper"),
    ("AT&T", "A-T and T"),
    ("2 + 2 = 4", "two plus two equals four"),
    ("5 - 3 = 2", "five minus three equals two"),
    ("3 × 4 = 12", "three times four equals twelve"),
    ("8 ÷ 2", "eight divided by two"),
    ("5 < 6", "five is less than six"),
    ("6 > 5", "six is greater than five"),
    ("#5", "number five"),
    ("~50", "about fifty"),
    ("© 2024 Foo™", "copyright twenty twenty-four Foo"),
    ("§5", "section five"),
    ("and/or", "and or"),
    ("he/she", "he or she"),
    ("x² + y³", "x squared plus y cubed"),
    ("2^10", "two to the power of ten"),
    ("10⁶", "ten to the power of six"),
    ("**bold** and _it_", "bold and it"),
    ("C++ and C#", "C plus plus and C sharp"),
    ("Wait... what — really?", "Wait... what — really?"),
    # versions and mixed names
    ("v2.1.3", "version two point one point three"),
    ("Python 3.11", "Python three point eleven"),
    ("A4", "A-four"),
    ("B52", "B fifty-two"),
    ("R2-D2", "R two-D two"),
    ("4K and 3D", "four K and three D"),
    ("COVID-19", "COVID-nineteen"),
    ("H₂O", "H two O"),
    ("5-year-old", "five-year-old"),
    ("10x faster", "ten times faster"),
    ("5M users", "five million users"),
    # addresses
    ("https://www.example.com/docs/", "example dot com slash docs"),
    ("example.com/docs.", "example dot com slash docs."),
    ("bob@example.org", "bob at example dot org"),
    ("@bob_smith", "at bob underscore smith"),
    ("#ThrowbackThursday", "hashtag Throwback Thursday"),
    ("report.pdf", "report dot P D F"),
    # found by trying
    ("He said no. I left.", "He said no. I left."),
    ("C.I.A. agents", "CIA agents"),
    ("M.I.T. students", "M-I-T students"),
    ("James A. Garfield and A. J. Foyt", "James A-Garfield and A-J Foyt"),
    ("a V8 engine", "a V eight engine"),
    ("GPT-3.5", "GPT-three point five"),
    ("Matthew 5:3-12", "Matthew five three to twelve"),
    ("2.5e10", "two point five times ten to the power of ten"),
    ("1,000s of birds", "thousands of birds"),
    ("World War I began", "World War one began"),
    ("Mr. and Mrs. Smith", "Mister and Missus Smith"),
    ("2/3 of 1/2", "two thirds of one half"),
    ("2000/01/05", "January fifth, two thousand"),
    ("150 hp", "one hundred fifty horsepower"),
    ("40.5° N", "forty point five degrees N"),
    ("Vol. II, No. 3", "Volume two, Number three"),
    ("Dr. von Braun", "Doctor von Braun"),
    ("5 ft 6 in tall", "five feet six inches tall"),
    ("10-12-2020", "October twelfth, twenty twenty"),
    (
        "1 Cor. 13:4-7, Gen. 1:1 and Isaiah 40:31",
        "First Corinthians thirteen four to seven, Genesis one one and Isaiah forty thirty-one",
    ),
    ("Call Mark at 3:30 pm, Gen. Lee at 4.", "Call Mark at three thirty PM, General Lee at four."),
    ("Call Mark 3:30 p.m. today", "Call Mark three thirty PM today"),
    ("a score of 3:2", "a score of three to two"),
    ("Roe v. Wade", "Roe versus Wade"),
    ("see v. 5", "see v. five"),
    ("Hwy. 101, para. 4, §§ 5-7", "Highway one hundred one, paragraph four, sections five to seven"),
    ("USD 50, Rs. 500 and CHF 20", "fifty US dollars, five hundred rupees and twenty Swiss francs"),
    ("2024-01 and 2003-04", "January twenty twenty-four and two thousand three to four"),
    ("500 sq. ft. wide and 3 cu ft", "five hundred square feet wide and three cubic feet"),
    ("5 mg/dL at 72 bpm", "five milligrams per deciliter at seventy-two beats per minute"),
    (".45 cal and 200 cal", "point four five caliber and two hundred calories"),
    ("It takes 1h30m.", "It takes one hour thirty minutes."),
    ("He is 5'11.", "He is five foot eleven."),
    ("a 50-50 chance", "a fifty-fifty chance"),
    ("0x1F", "zero x one F"),
    # nothing to do
    ("Plain words, nothing else!", "Plain words, nothing else!"),
    ("NASA and the FBI", "NASA and the FBI"),
    ("First line.\nSecond line.", "First line.\nSecond line."),
]


@pytest.mark.parametrize(("written", "spoken"), READINGS, ids=[written for written, _ in READINGS])
def test_reads_as_a_person_would(written, spoken):
    assert spoken_form(written) == spoken


@pytest.mark.parametrize("spoken", sorted({spoken for _, spoken in READINGS}))
def test_what_is_spoken_already_stays(spoken):
    assert spoken_form(spoken) == spoken


def test_the_table_is_large_enough():
    assert len({written for written, _ in READINGS}) >= 120


@pytest.mark.parametrize("language", ["en", "EN", "en-us", "en_US", "en-GB", "en_gb"])
def test_every_english_reads_numbers(language):
    assert spoken_form("5 km", language) == "five kilometers"


def test_british_dates_have_the_day_first():
    assert spoken_form("5/6/2024", "en-us") == "May sixth, twenty twenty-four"
    assert spoken_form("5/6/2024", "en-GB") == "June fifth, twenty twenty-four"


@pytest.mark.parametrize("language", ["de", "de-DE", "fr", "", "eng", "english"])
def test_other_languages_are_left_alone(language):
    assert spoken_form("Dr. Müller, 5 km", language) == "Dr. Müller, 5 km"


HOSTILE = [
    "1", "0", ".", "/", "$", "-", "1.", "1,", "1,234,", "1/", "1-", "$1", "$1.", "1:", "1:0", "Dr. ", "St. ", "A. ", "A.", "I", "I ", "V I ", "X",
    "a", "A", "Henry ", "Henry V", "5 ", "5 km ", "5-", "a-", "a_", "_", "#", "@", "a@", "a@a.", "a.", "www.", "http://", "example.", "x.com/", "&",
    "=", "<", ">", "*", "~", "%", "°", "½", "1½", "²", "'", "'9", "1' ", " ", "\t", "\n", "\u00a0", "€", "+", "+1 ", "12 ",
    "(1", "1)", "May ", "May 1",
    "2024-", "2024-01-", "1a", "a1", "a1-", "10", "no. ", "no.", "e.g.", "1 000 ", "000 ", "5x", "3 x ",
    "5 N ", "5 sq ", "1h", "1h1", "0x1", "0x", "USD ", "USD 1", "Mark 1:", "v. ", "§", "3'1",
    "IV ", "the IV ", "Dr.", "Elm Dr. ", "$-", "order ", "2024/",
    "٣", "－", "é", "漢", "😀", "1984 ",
]  # fmt: skip


ENOUGH_S = 5.0
"""Seconds of processor time for 100,000 characters: six times what the worst takes; any quadratic rule takes minutes."""


def processor_seconds(text: str) -> float:
    start = time.process_time()
    spoken_form(text)
    return time.process_time() - start


@pytest.mark.parametrize("unit", HOSTILE, ids=[repr(unit) for unit in HOSTILE])
def test_hostile_repetition_takes_linear_time(unit):
    assert processor_seconds((unit * (100_000 // len(unit) + 1))[:100_000]) < ENOUGH_S


def test_hostile_mixture_takes_linear_time():
    order = random.Random(7)
    assert processor_seconds("".join(order.choices(HOSTILE, k=40_000))) < ENOUGH_S


SCRAPS = st.lists(
    st.one_of(st.text(max_size=8), st.sampled_from([written for written, _ in READINGS]), st.sampled_from(HOSTILE)),
    max_size=8,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(SCRAPS)
def test_anything_can_be_read(text):
    said = spoken_form(text)
    assert said.strip() or not any(char.isalnum() for char in text)
    assert not any("0" <= char <= "9" for char in said)
    assert said.count("\n") == text.count("\n")
