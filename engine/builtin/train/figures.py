"""People composed of parts: skin, hair, clothes, hats, tools; each a drawing with what is said of it."""
import itertools

SKIN = {"": "#f1bf94", "black": "#8a5634"}
HAIR = {"blond": "#f3cf5b", "red": "#d9531e", "brown": "#6b4226", "black": "#1f1b1c"}
CLOTHES = {"red": "#d8342e", "blue": "#2f62d0", "green": "#2f9a49", "yellow": "#f5cf35", "purple": "#7d3fae",
           "pink": "#f48fb5", "black": "#26262b", "white": "#f7f7f7", "orange": "#f08a24"}
# who: (the clothes' name, how tall, head's radius)
WHO = {"man": ("shirt", 1., 13), "woman": ("dress", 1., 13), "boy": ("shirt", .82, 15), "girl": ("dress", .82, 15)}
PLAIN = {"man": ("", "brown", "blue"), "woman": ("", "brown", "red"), "boy": ("", "brown", "green"),
         "girl": ("", "blond", "pink")}  # those of a relation, where nothing is said

# Hats by the head's top x = 50, y = 0 is the brow's height; drawn over the hair
HATS = {
    "sailor": '<path d="M37-2q-5-13 13-13t13 13z" fill="#fff" stroke="#c9c9cf"/><path d="M36-5h28v5H36z" fill="#2b4a9a"/>',
    "chef": '<path d="M39 0v-8q-8-12 4-15 7-8 14 0 12 3 4 15v8z" fill="#fff" stroke="#c9c9cf"/>',
    "helmet": '<path d="M35 2q0-19 15-19t15 19z" fill="#5d7042"/><path d="M34 0h32v4H34z" fill="#4a5a34"/>',
    "top": '<path d="M34 1h32v-4H34zM40-3v-20h20v20z" fill="#1d1d22"/><path d="M40-8h20v5H40z" fill="#d8342e"/>',
    "cone": '<path d="M35 2 50-32 65 2z" fill="#d8342e"/>',
    "wizard": '<path d="M30 3q20-9 40 0l-8-5L50-34 38-2z" fill="#45329a"/><circle cx="50" cy="-10" r="2.500" fill="#ffd75a"/>',
    "straw": '<path d="M28 2q22-9 44 0-22 5-44 0z" fill="#d9ad55"/><path d="M38-1q0-14 12-14t12 14z" fill="#e7c069"/>',
    "postal": '<path d="M36-1q-2-14 14-14t14 14z" fill="#2b4a9a"/><path d="M36-3h28l4 5H36z" fill="#1d2f66"/>',
    "horns": '<path d="M36 1q0-17 14-17t14 17z" fill="#9aa3ad"/><path d="M37-3q-11-4-9-16 3 9 11 10zM63-3q11-4 9-16-3 9-11 10z" fill="#f3ead2"/>',
    "tricorn": '<path d="M30 2Q36-18 50-13q14-5 20 15-20-9-40 0z" fill="#1d1d22"/><circle cx="50" cy="-5" r="3.500" fill="#fff"/>',
    "crown": '<path d="M38 0l-2-15 8 7 6-10 6 10 8-7-2 15z" fill="#f5c531"/>',
    "nemes": '<path d="M35-2q0-13 15-13t15 13l5 26H60V4H40v20H30z" fill="#f5c531"/><path d="M34 6l-3 12h7zM66 6l3 12h-7z" fill="#2f62d0"/>',
    "fire": '<path d="M35 1q0-18 15-18t15 18l5 4H30z" fill="#d8342e"/><path d="M46-14h8v12h-8z" fill="#f5c531"/>',
    "knight": '<path d="M36 20V-2q0-15 14-15t14 15v22q-14 6-28 0z" fill="#c5ccd4"/><path d="M39 2h22v6H39z" fill="#23272d"/>'
              '<path d="M50-16q2-12 16-7-6 4-4 11-4-5-12-4z" fill="#d8342e"/>',
    "space": '<circle cx="50" cy="8" r="19" fill="#f2f4f7" stroke="#b9c0c9"/><circle cx="50" cy="9" r="14" fill="#27364d"/>'
             '<path d="M42 3q4-5 9-5" stroke="#7fa4d8" stroke-width="2.500" fill="none"/>',
    "samurai": '<path d="M34 4q0-20 16-20t16 20l5 8H29z" fill="#3a2230"/><path d="M40-10q-2-12 4-16-1 10 6 12 7-2 6-12 6 4 4 16z" fill="#f5c531"/>',
    "diver": '<path d="M36 0q0-16 14-16t14 16z" fill="#26262b"/><path d="M38 1h24v9H38z" fill="#7fd0ee" stroke="#26262b" stroke-width="2.500"/>',
    "cowboy": '<path d="M26 0q8 6 24 4t24-4q-8 10-24 8T26 0zM38 3q-2-19 12-15 14-4 12 15z" fill="#8a5a30"/>',
    "cap": '<path d="M36 0q-1-15 14-15t14 15z" fill="#d8342e"/><path d="M34-2h22v4H30z" fill="#a81a20"/>',
    "police": '<path d="M36-2q-6-14 14-14t14 14z" fill="#1d2f66"/><path d="M35-4h30v6H35z" fill="#111a3a"/><circle cx="50" cy="-9" r="3" fill="#f5c531"/>',
    "jester": '<path d="M36 1Q28-22 16-8q6-20 22-12 4-8 12 4 8-12 12-4 16-8 22 12Q72-22 64 1z" fill="#7d3fae"/><path d="M50-8 64 1H36z" fill="#f5c531"/><circle cx="16" cy="-6" r="4" fill="#f5c531"/><circle cx="84" cy="-6" r="4" fill="#f5c531"/>',
    "hood": '<path d="M33 14Q30-18 50-18t17 32l-4 6V4q-13-12-26 0v16z" fill="COLOUR"/>',
    "plume": '<path d="M36 8V-2q0-14 14-14t14 14V8l-4-6H40z" fill="#c99a2e"/><path d="M32-14q18-18 36 0l-4 4q-14-10-28 0z" fill="#d8342e"/>',
    "gridiron": '<path d="M34 8V-1q0-17 16-17t16 17v9l-5-6H38z" fill="#d8342e"/><path d="M36 6h28M38 12h24M50 4v10" stroke="#d0d5da" stroke-width="2.200" fill="none"/><path d="M48-18h4V0h-4z" fill="#fff"/>',
    "mitre": '<path d="M37 1q-6-24 13-38 19 14 13 38z" fill="#fff" stroke="#c99a2e" stroke-width="2"/><path d="M48-30h4V-6h-4zM42-20h16v4H42z" fill="#c99a2e"/>',
    "turban": '<path d="M34 2q-4-20 16-22 20 2 16 22-16-10-32 0z" fill="#f4f0e4" stroke="#c9c0a8"/><path d="M36-4q14-14 28-2M38-12q14-6 26 4" stroke="#c9c0a8" stroke-width="2" fill="none"/><circle cx="50" cy="-10" r="4" fill="#d8262c"/>',
    "veil": '<path d="M26 0q24-10 48 0l-9-4q-4-12-15-12T35-4z" fill="#e7c069"/><path d="M34 1h32v22q-16 6-32 0z" fill="#333" fill-opacity=".45"/>',
    "miner": '<path d="M35 1q0-18 15-18t15 18l4 3H31z" fill="#f5c531"/><circle cx="50" cy="-7" r="5" fill="#fffbe0" stroke="#8a6a10" stroke-width="2"/>',
    "clown": '<circle cx="35" cy="2" r="9" fill="#f06a1e"/><circle cx="65" cy="2" r="9" fill="#f06a1e"/><path d="M40-6 50-30 60-6z" fill="#3f7fd0"/><circle cx="50" cy="-30" r="4" fill="#f5d21e"/><circle cx="50" cy="10" r="4.500" fill="#d8262c"/>',
    "mask": '<path d="M36 4h28v7H36z" fill="#1d1d22"/><circle cx="45" cy="8" r="2" fill="#fff"/><circle cx="55" cy="8" r="2" fill="#fff"/><path d="M37-2q-1-12 13-12t13 12z" fill="#1d1d22"/>',
    "ninja": '<path d="M36 20V-2q0-14 14-14t14 14v22q-14 6-28 0z" fill="#1d1d22"/><path d="M38 3h24v9H38z" fill="#f1bf94"/><circle cx="45" cy="8" r="2" fill="#111"/><circle cx="55" cy="8" r="2" fill="#111"/><path d="M36-6h28v5H36z" fill="#d8262c"/>',
    "santa": '<path d="M36-2Q38-24 56-22q14 2 18 16-10-4-12 4z" fill="#d8262c"/><path d="M34-3h32v6H34z" fill="#fff"/><circle cx="75" cy="-5" r="4.500" fill="#fff"/>',
    "eyes": '<path d="M38 4h24v6H38z" fill="#3f7fd0"/><circle cx="45" cy="7" r="2" fill="#fff"/><circle cx="55" cy="7" r="2" fill="#fff"/>',
    "pillbox": '<path d="M40-4h20v-8H40z" fill="#1d2f66"/><path d="M40-6h20v3H40z" fill="#f5c531"/>',
    "knit": '<path d="M36 0q-2-16 14-16t14 16z" fill="#2f7a4a"/><path d="M35-4h30v6H35z" fill="#1f5a34"/>',
    "straight": '<path d="M31 0h38l-6-4q-1-12-13-12T37-4z" fill="#c9a45e"/>',
    "witch": '<path d="M28 3q22-9 44 0l-9-4L52-32 37-1z" fill="#26262b"/><path d="M39-6h23l1 5H37z" fill="#7d3fae"/>',
}
# Tools in the right hand, which is at 0 0
TOOLS = {
    "rod": '<path d="M-4 8 22-48v36" fill="none" stroke="#6b4226" stroke-width="2.200"/><circle cx="22" cy="-10" r="2.500" fill="#d8342e"/>',
    "tray": '<path d="M-10-5h24" stroke="#aab2bb" stroke-width="3"/><path d="M-4-7v-9h5v9zM5-7q-3-8 3-9 6 1 3 9z" fill="#b3202c"/>',
    "sword": '<path d="M-2 4 0-34l2-4 2 4 2 38z" fill="#dfe5eb" stroke="#9aa3ad"/><path d="M-6 2h16v4H-6z" fill="#c99a2e"/>',
    "axe": '<path d="M1 14V-30" stroke="#6b4226" stroke-width="3"/><path d="M2-30q13-4 13 6t-13 6z" fill="#b4bcc6"/>',
    "wand": '<path d="M-2 4 12-18" stroke="#26262b" stroke-width="2.500"/><path d="m14-26 2 5 5 1-4 3 1 5-4-3-5 3 2-5-4-4 5-1z" fill="#ffd75a"/>',
    "staff": '<path d="M1 20V-44" stroke="#7d4a26" stroke-width="3"/><circle cx="1" cy="-46" r="5" fill="#5fd0f0"/>',
    "broom": '<path d="M1 8V-34" stroke="#a9753f" stroke-width="3"/><path d="M-5 8H7l4 18H-9z" fill="#d9ad55"/>',
    "can": '<path d="M-6 2H9v14H-6z" fill="#2f9a49"/><path d="M9 8l9-8" stroke="#2f9a49" stroke-width="3"/><path d="M-4 2Q1-8 7 2" fill="none" stroke="#2f9a49" stroke-width="2"/>',
    "spear": '<path d="M1 24V-44" stroke="#7d4a26" stroke-width="2.800"/><path d="m1-54 4 12h-8z" fill="#b4bcc6"/>',
    "letter": '<path d="M-6-4h18V9H-6z" fill="#fff" stroke="#99a"/><path d="M-6-4 3 4l9-8" fill="none" stroke="#99a"/>',
    "spoon": '<path d="M1 8V-20" stroke="#a9753f" stroke-width="3"/><ellipse cx="1" cy="-22" rx="4" ry="6" fill="#a9753f"/>',
    "bread": '<path d="M-7 4 12-16" stroke="#d99a4e" stroke-width="7" stroke-linecap="round"/>',
    "hose": '<path d="M-4 4 12-6" stroke="#f5c531" stroke-width="5"/><path d="M12-6 24-16M12-5l14-3" stroke="#5fb8f0" stroke-width="3"/>',
    "rifle": '<path d="M-8 10 14-26" stroke="#3a2a22" stroke-width="4"/>',
    "camera": '<path d="M-10-8H14V8h-24z" fill="#2f2f36"/><circle cx="2" cy="0" r="6" fill="#8ecdf0"/><path d="M-4-12h8v4h-8z" fill="#2f2f36"/>',
    "scissors": '<path d="M0 0 14-22M6 0-6-22" stroke="#aab2bb" stroke-width="3"/><circle cx="-2" cy="5" r="4" fill="none" stroke="#d8342e" stroke-width="2.500"/><circle cx="9" cy="5" r="4" fill="none" stroke="#d8342e" stroke-width="2.500"/>',
    "wrench": '<path d="M0 10V-20" stroke="#8b95a1" stroke-width="5"/><path d="M-7-30l3 8h8l3-8q6 8-1 14h-12q-7-6-1-14z" fill="#8b95a1"/>',
    "hammer": '<path d="M1 12V-24" stroke="#a8703a" stroke-width="4"/><path d="M-9-32h22v10H-9z" fill="#5d6873"/>',
    "violin": '<path d="M-30-16 6-40" stroke="#3a2416" stroke-width="3"/><ellipse cx="-26" cy="-16" rx="12" ry="7" fill="#a8562a" transform="rotate(-32 -26 -16)"/><path d="M-2 2-26-34" stroke="#e0c890" stroke-width="2"/>',
    "bow": '<path d="M6-30q20 30 0 60" fill="none" stroke="#8a5a30" stroke-width="3.500"/><path d="M6-30v60" stroke="#ccc" stroke-width="1.200"/><path d="M-16 0h34l-4-4m4 4-4 4" stroke="#6b4226" stroke-width="2.200" fill="none"/>',
    "club": '<path d="M0 10 12-34" stroke="#8a5a30" stroke-width="7" stroke-linecap="round"/><circle cx="13" cy="-34" r="7" fill="#8a5a30"/>',
    "ball": '<ellipse cx="2" cy="0" rx="12" ry="8" fill="#8a4a26"/><path d="M-4 0H8M-1-3v6M2-3v6M5-3v6" stroke="#fff" stroke-width="1.400"/>',
    "soccer": '<circle cx="0" cy="31" r="9" fill="#fff" stroke="#222" stroke-width="1.500"/><path d="m0 26 5 4-2 6h-6l-2-6z" fill="#222"/>',
    "racket": '<path d="M0 8V-14" stroke="#3a2a22" stroke-width="4"/><ellipse cx="0" cy="-28" rx="10" ry="14" fill="#fff" stroke="#d8342e" stroke-width="3.500"/><path d="M-5-36v16M0-40v24M5-36v16M-9-28H9" stroke="#bbb"/>',
    "bat": '<path d="M-2 6 12-34" stroke="#d0a060" stroke-width="6" stroke-linecap="round"/>',
    "stick": '<path d="M0-16V30h16" fill="none" stroke="#8a5a30" stroke-width="4.500"/>',
    "gloves": '<circle cx="1" cy="2" r="9.500" fill="#d8262c"/><circle cx="-49" cy="2" r="9.500" fill="#d8262c"/>',
    "pompoms": '<circle cx="1" cy="0" r="11" fill="#f5d21e"/><circle cx="-49" cy="0" r="11" fill="#f5d21e"/><path d="M1-14V14M-12 0h26M-8-9 10 9M-8 9 10-9M-49-14V14M-62 0h26M-58-9l18 18M-58 9l18-18" stroke="#d9a60e" stroke-width="2"/>',
    "basket": '<path d="M-10 6H14l-4 14H-6z" fill="#c58a50"/><path d="M-8 6Q2-12 12 6" fill="none" stroke="#8a5a30" stroke-width="2.500"/><circle cx="-1" cy="5" r="4" fill="#d8262c"/><circle cx="6" cy="5" r="4" fill="#d8262c"/>',
    "crozier": '<path d="M1 24V-34q0-12 9-12t9 8-8 6" fill="none" stroke="#c99a2e" stroke-width="3.500"/>',
    "crook": '<path d="M1 24V-34q0-12 9-12t9 10" fill="none" stroke="#8a5a30" stroke-width="3.500"/>',
    "book": '<path d="M-10-8H12V10h-22z" fill="#7a1f24"/><path d="M0-5h3v12H0zM-4-1H7v3H-4z" fill="#f5c531"/>',
    "pickaxe": '<path d="M1 16V-28" stroke="#8a5a30" stroke-width="3.500"/><path d="M-18-18Q1-42 20-18 1-32-18-18z" fill="#5d6873"/>',
    "cleaver": '<path d="M0 8V-6" stroke="#3a2a22" stroke-width="4.500"/><path d="M-4-6v-22h18v22z" fill="#c9d0d8" stroke="#8b95a1"/>',
    "sack": '<path d="M-6 0Q-14 30 6 32 28 30 18 2 6 6-6 0z" fill="#8a5a30"/><path d="M-6 0l12-6 12 8-12 3z" fill="#6b4226"/>',
    "briefcase": '<path d="M-12 6H16v20h-28z" fill="#7a4a26"/><path d="M-4 6V1H8v5" fill="none" stroke="#7a4a26" stroke-width="3"/><path d="M-12 14H16" stroke="#4a2a12" stroke-width="2"/>',
    "pitchfork": '<path d="M1 26V-22M-8-40v10q0 8 9 8t9-8v-10M1-22v-20" fill="none" stroke="#7a5230" stroke-width="3"/>',
    "stethoscope": '<path d="M-36-26q-2 22 10 22T-14-26" fill="none" stroke="#3a3f4a" stroke-width="2.500"/><circle cx="-26" cy="-2" r="4" fill="#aab2bb" stroke="#3a3f4a"/><path d="M-8 4h18v20H-8z" fill="#d9ad5e"/><path d="M-5 8H7v13H-5z" fill="#fff"/>',
    "badge": '<path d="M-30-18h12l-6 12z" fill="#f5c531"/>',
    "baton": '<path d="M0 10V-18" stroke="#222" stroke-width="4.500"/>',
    "mic": '<path d="M1 8V-8" stroke="#222" stroke-width="4"/><circle cx="1" cy="-12" r="6" fill="#8b95a1"/>',
    "flag": '<path d="M1 24V-44" stroke="#7d4a26" stroke-width="2.800"/><path d="M2-44h26l-6 9 6 9H2z" fill="#d8262c"/>',
    "balloons": '<path d="M0 0 8-24M0 0-4-30M0 0 18-18" stroke="#888" stroke-width="1"/><circle cx="10" cy="-30" r="9" fill="#d8262c"/><circle cx="-6" cy="-36" r="9" fill="#f5d21e"/><circle cx="22" cy="-20" r="8" fill="#3f7fd0"/>',
    "skateboard": '<path d="M-6-24H4V24H-6z" fill="#f06a1e"/><circle cx="7" cy="-16" r="3.500" fill="#333"/><circle cx="7" cy="16" r="3.500" fill="#333"/>',
    "guitar": '<path d="M-4 2 16-26" stroke="#6b4226" stroke-width="3"/><ellipse cx="-6" cy="6" rx="8" ry="7" fill="#d0742a"/>',
}
# who is known by clothes and tools: (clothes' colour, robe, hair or beard's colour, beard, hat, tool, skin, what is said)
KNOWN = {
    "sailor": ("#f7f7f7", False, "#6b4226", False, "sailor", None, None, "seaman;navy sailor"),
    "baker": ("#f7f7f7", False, "#6b4226", False, "chef", "bread", None, "baker with bread"),
    "standing chef": ("#f7f7f7", False, "#1f1b1c", False, "chef", "spoon", None, "chef with a spoon;cook with a wooden spoon"),
    "waiter": ("#26262b", False, "#1f1b1c", False, None, "tray", None, "waiter with a tray;butler"),
    "soldier": ("#5d7042", False, "#6b4226", False, "helmet", "rifle", None, "army soldier"),
    "fisherman": ("#f5cf35", False, "#8b8b8b", True, "straw", "rod", None, "fisherman with a fishing rod;angler"),
    "gardener": ("#2f9a49", False, "#d9531e", False, "straw", "can", None, "gardener with a watering can"),
    "postman": ("#2f62d0", False, "#6b4226", False, "postal", "letter", None, "mailman;mail carrier"),
    "magician": ("#26262b", False, "#1f1b1c", False, "top", "wand", None, "magician with a wand;conjurer"),
    "gnome": ("#2f62d0", False, "#f2f2f2", True, "cone", None, None, "garden gnome"),
    "dwarf": ("#7a5a3a", False, "#b0552a", True, "horns", "axe", None, "dwarf with an axe"),
    "standing viking": ("#7a5a3a", False, "#e0a23c", True, "horns", "sword", None, "viking warrior;viking with a sword"),
    "standing wizard": ("#45329a", True, "#f2f2f2", True, "wizard", "staff", None, "wizard with a staff;sorcerer;old wizard"),
    "monk": ("#7a4a26", True, None, False, None, None, None, "buddhist monk;friar"),
    "pharaoh": ("#f7f7f7", True, None, False, "nemes", "staff", "#c98a55", "egyptian pharaoh"),
    "samurai": ("#8f231d", False, "#1f1b1c", False, "samurai", "sword", None, "samurai warrior;japanese warrior"),
    "gladiator": ("#a3552f", False, "#1f1b1c", False, "horns", "spear", "#d9a06b", "warrior;roman warrior"),
    "standing knight": ("#a9b2bd", False, None, False, "knight", "sword", None, "knight in armour;knight in armor"),
    "standing astronaut": ("#f2f4f7", False, None, False, "space", None, None, "spaceman;astronaut in a space suit"),
    "standing firefighter": ("#d0742a", False, "#6b4226", False, "fire", "hose", None, "fireman;fireman with a hose"),
    "standing pirate": ("#7a1f24", False, "#3a2416", True, "tricorn", "sword", None, "pirate captain;pirate with a sword"),
    "standing king": ("#b3202c", True, "#8a5a34", True, "crown", None, None, "king in a robe"),
    "standing cowboy": ("#c0653a", False, "#6b4226", False, "cowboy", None, None, "cowboy in boots"),
    "standing witch": ("#26262b", True, "#d0742a", False, "witch", "broom", "#a5cf6b", "witch with a broom"),
    "diver": ("#26262b", False, None, False, "diver", None, None, "scuba diver"),
    "musician": ("#7d3fae", False, "#1f1b1c", False, None, "guitar", None, "guitarist;guitar player;man playing the guitar"),
    "lumberjack": ("#c0332b", False, "#6b4226", True, "knit", "axe", None, "lumberjack with an axe;woodcutter"),
    "plumber": ("#3f6fb0", False, "#3a2416", False, "cap", "wrench", None, "plumber with a wrench"),
    "carpenter": ("#c58a50", False, "#8a5a34", False, None, "hammer", None, "carpenter with a hammer;handyman"),
    "photographer": ("#5d6873", False, "#1f1b1c", False, None, "camera", None, "photographer with a camera;man with a camera"),
    "barber": ("#f7f7f7", False, "#1f1b1c", False, None, "scissors", None, "barber with scissors"),
    "hairdresser": ("#f48fb5", "dress", "#6b4226", False, None, "scissors", None, "woman with scissors"),
    "violinist": ("#26262b", False, "#6b4226", False, None, "violin", None, "violin player;man playing the violin"),
    "jester": ("#d8342e", False, "#6b4226", False, "jester", None, None, "court jester;fool"),
    "archer": ("#2f7a3a", False, "#8a5a34", False, "hood", "bow", None, "archer with a bow;robin hood;bowman"),
    "caveman": ("#a3703a", False, "#3a2416", True, None, "club", None, "cave man;stone age man;caveman with a club"),
    "roman soldier": ("#b3202c", False, "#6b4226", False, "plume", "spear", None, "centurion;legionary;spartan"),
    "american football player": ("#d8342e", False, "#6b4226", False, "gridiron", "ball", None, "quarterback"),
    "soccer player": ("#3f7fd0", False, "#1f1b1c", False, None, "soccer", None, "footballer;football player;man with a soccer ball"),
    "tennis player": ("#f7f7f7", False, "#8a5a34", False, None, "racket", None, "man with a tennis racket"),
    "baseball player": ("#f7f7f7", False, "#6b4226", False, "cap", "bat", None, "batter;baseball player with a bat"),
    "hockey player": ("#2f62d0", False, "#6b4226", False, "gridiron", "stick", None, "ice hockey player"),
    "boxer": ("#f1bf94", False, "#1f1b1c", False, None, "gloves", None, "boxer with red gloves;boxing man"),
    "cheerleader": ("#d8342e", "dress", "#f3cf5b", False, None, "pompoms", None, "cheerleader with pom poms"),
    "waitress": ("#26262b", "dress", "#d9531e", False, None, "tray", None, "waitress with a tray"),
    "stewardess": ("#2f4f9f", "dress", "#6b4226", False, "pillbox", None, None, "flight attendant;air hostess"),
    "maid": ("#26262b", "dress", "#6b4226", False, "pillbox", "broom", None, "cleaning lady;cleaner;maid with a broom"),
    "standing princess": ("#f48fb5", "dress", "#f3cf5b", False, "crown", None, None, "princess in a pink dress"),
    "standing queen": ("#7d3fae", "dress", "#6b4226", False, "crown", "staff", None, "queen in a purple dress"),
    "little red riding hood": ("#d8262c", "dress", "#6b4226", False, "hood", "basket", None, "red riding hood;girl in a red hood"),
    "sorceress with a staff": ("#45329a", "dress", "#d9531e", False, "wizard", "staff", None, "enchantress"),
    "bishop": ("#f7f7f7", True, "#dedede", False, "mitre", "crozier", None, "pope"),
    "priest": ("#26262b", True, "#8a5a34", False, None, "book", None, "pastor;vicar;priest with a bible"),
    "sultan": ("#7d3fae", True, "#1f1b1c", True, "turban", None, "#d9a06b", "maharaja"),
    "beekeeper": ("#f7f7f7", False, None, False, "veil", None, None, "bee keeper"),
    "miner": ("#5d6873", False, "#1f1b1c", False, "miner", "pickaxe", None, "coal miner;miner with a pickaxe"),
    "butcher": ("#f7f7f7", False, "#6b4226", False, "straight", "cleaver", None, "butcher with a cleaver"),
    "shepherd": ("#8a6a4a", True, "#6b4226", True, None, "crook", None, "shepherd with a crook;herdsman"),
    "standing clown": ("#f5d21e", False, None, False, "clown", "balloons", "#f7e8dc", "clown with balloons;circus clown with balloons"),
    "burglar": ("#3a3f4a", False, None, False, "mask", "sack", None, "robber;thief;bank robber;burglar with a sack"),
    "standing businessman": ("#26304a", False, "#6b4226", False, None, "briefcase", None, "man with a briefcase;banker;salesman"),
    "standing ninja": ("#1d1d22", False, None, False, "ninja", "sword", None, "ninja with a sword;ninja warrior"),
    "standing santa claus": ("#d8262c", False, "#ffffff", True, "santa", "sack", None, "santa with a sack;father christmas with a sack"),
    "standing farmer": ("#3f6fb0", False, "#8a5a34", False, "straw", "pitchfork", None, "farmer with a pitchfork"),
    "standing doctor": ("#f7f7f7", False, "#6b4226", False, None, "stethoscope", None, "doctor with a stethoscope;doctor in a white coat"),
    "standing police officer": ("#2f4f9f", False, "#6b4226", False, "police", "baton", None, "police officer in uniform;policeman with a baton"),
    "standing zombie": ("#5d6873", False, "#3a2416", False, None, None, "#8fbf6a", "green zombie;undead man"),
    "standing superhero": ("#2f62d0", False, "#1f1b1c", False, "eyes", "badge", None, "masked hero;superhero in blue"),
    "pop singer": ("#e0457b", "dress", "#f3cf5b", False, None, "mic", None, "woman with a microphone;woman singing"),
    "explorer": ("#c9a45e", False, "#8a5a34", False, "straight", "flag", None, "adventurer;explorer with a flag"),
    "skater boy": ("#3f9a45", False, "#d9531e", False, "knit", "skateboard", None, "boy with a skateboard"),
}


def body(colour, skin, hair, worn, tall, r, trousers, edge="", face=True, shorts=False):
    """(SVG, brow's height, hand's height) of someone standing in a field of 100 x 100."""
    top = 96 - 92 * tall  # of the head
    neck, hip, out = top + 2 * r, 96 - 34 * tall, []
    y = top + r
    if worn == "dress" and hair:  # long hair, behind
        out.append(f'<path d="M{50 - r - 4} {y + 17}V{y}a{r + 4} {r + 2} 0 0 1 {2 * r + 8} 0v17'
                   f'q-{r + 4} 8-{2 * r + 8} 0z" fill="{hair}"/>')
    leg = skin if worn == "dress" or shorts else trousers
    out.append(f'<path d="M43 {hip - 4}V92M57 {hip - 4}V92" stroke="{leg}" stroke-width="8.500"/>')
    if shorts:
        out.append(f'<path d="M38.500 {hip - 6}h23v13h-9l-2-6-3 6h-9z" fill="{trousers}"/>')
    out.append('<path d="M36 97q0-6 7-6h4.500v6zM64 97q0-6-7-6h-4.500v6z" fill="#3a2a22"/>')
    for s in (-1, 1):  # arms, hands
        x, end = 50 + s * 23, hip - 2
        out.append(f'<path d="M{50 + s * 11} {neck + 7}L{x} {end}" stroke="{colour}" stroke-width="8" '
                   f'stroke-linecap="round"/><circle cx="{x + s}" cy="{end + 3}" r="4.500" fill="{skin}"/>')
    out.append(f'<path d="M46 {neck - 4}h8v8h-8z" fill="{skin}"/>')
    if worn == "dress":
        out.append(f'<path d="M40 {neck + 2}h20l2 {hip - neck - 16}L70 {hip + 10}q-20 7-40 0l8-26z" fill="{colour}"'
                   f'{edge}/>')
    elif worn == "robe":
        out.append(f'<path d="M37 {neck + 8}q0-6 6-6h14q6 0 6 6L70 93q-20 5-40 0z" fill="{colour}"{edge}/>')
    else:
        out.append(f'<path d="M37 {neck + 8}q0-6 6-6h14q6 0 6 6l-1.500 {hip - neck - 8}h-23z" fill="{colour}"{edge}/>')
    out.append(f'<circle cx="50" cy="{y}" r="{r}" fill="{skin}"/>')
    if hair and worn == "dress":
        out.append(f'<path d="M{50 - r} {y + 2}q{r / 2} -2 {r} -{r - 1}q{r / 2} {r - 3} {r} {r - 1}'
                   f'v-4a{r} {r} 0 0 0-{2 * r} 0z" fill="{hair}"/>')
    elif hair:
        out.append(f'<path d="M{50 - r - 1} {y + 1}q-1-{r + 5} {r + 1}-{r + 4}q{r + 2}-1 {r + 1} {r + 4}'
                   f'q-4-8-8-8-6 3-{2 * r - 12} 0-4 1-6 8z" fill="{hair}"/>')
    if face:
        out.append(f'<circle cx="{50 - r / 2.6}" cy="{y + 2}" r="1.900" fill="#222"/>'
                   f'<circle cx="{50 + r / 2.6}" cy="{y + 2}" r="1.900" fill="#222"/>'
                   f'<path d="M46 {y + 7}q4 4 8 0" fill="none" stroke="#a33" stroke-width="1.800"/>')
    return "".join(out), y - 6, hip + 1


def draw(who, skin, hair, clothes):
    worn, tall, r = WHO[who]
    edge = ' stroke="#c9c9cf" stroke-width="1"' if clothes == "white" else ""
    trousers = "#34465e" if clothes != "blue" else "#4c4c52"
    return body(CLOTHES[clothes], SKIN[skin], HAIR[hair], worn, tall, r, trousers, edge, shorts=who == "boy")[0]


def known(colour, robe, hair, beard, hat, tool, skin, _):
    """The figure a little smaller, so that hat and tool have room."""
    worn, trousers = robe if robe == "dress" else "robe" if robe else "shirt", "#3a3f4a" if colour != "#26262b" else "#55555c"
    trousers = colour if hat == "space" else "#8b95a1" if hat == "knight" else trousers
    edge = ' stroke="#c9c9cf" stroke-width="1"' if colour in ("#f7f7f7", "#f2f4f7") else ""
    svg, brow, hand = body(colour, skin or SKIN[""], hair, worn, .92, 13, trousers, edge)
    if beard:
        y = brow + 6
        svg += (f'<path d="M37 {y + 1}q1 27 13 28 12-1 13-28-4 9-13 5-9 4-13-5z" fill="{hair}"/>'
                f'<path d="M46 {y + 9}h8" stroke="#a33" stroke-width="2"/>')
    if tool:
        svg += f'<g transform="translate(74 {hand})">{TOOLS[tool]}</g>'
    if hat:
        svg += f'<g transform="translate(0 {brow})">{HATS[hat].replace("COLOUR", colour)}</g>'
    return f'<g transform="translate(8 15) scale(.85)">{svg}</g>'


def label(who, skin, hair, clothes):
    an = "an" if clothes == "orange" else "a"
    return f"{skin} {who} with {hair} hair in {an} {clothes} {WHO[who][0]}".strip()


def figures():
    """(name, what else is said, SVG) of each."""
    out = []
    for who, skin, hair, clothes in itertools.product(WHO, SKIN, HAIR, CLOTHES):
        if skin and hair not in ("black", "brown"):
            continue
        worn, a = WHO[who][0], f"{skin} {who}".strip()
        an = "an" if clothes == "orange" else "a"
        said = [f"{a} in {an} {clothes} {worn}", f"{a} wearing {an} {clothes} {worn}", f"{a} in {clothes} with {hair} hair",
                f"{hair} haired {a} in {an} {clothes} {worn}",
                f"standing {a} with {hair} hair in {an} {clothes} {worn}"]
        out.append((label(who, skin, hair, clothes), said, draw(who, skin, hair, clothes)))
    return out + [(name, how[-1].split(";"), known(*how)) for name, how in KNOWN.items()]


BODY = {who: label(who, *how) for who, how in PLAIN.items()}
BODY["child"] = BODY["girl"]
BODY.update((name.removeprefix("standing "), name) for name in KNOWN if name.startswith("standing "))
BODY.update((name.split()[1], name) for name in (
    "sitting fox", "standing lion", "sitting bear", "standing wolf", "sitting rabbit", "sitting panda", "standing unicorn",
    "sitting frog", "standing tiger"))  # drawings of own.txt; the emoji of these are faces
