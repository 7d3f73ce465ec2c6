/** The questions at the end. `answer` is the index of the right choice. */
export interface Question {
  question: string;
  choices: string[];
  answer: number;
  why: string;
}

export const QUIZ: Question[] = [
  {
    question: "Two codecs have the same bit rate. Which one is easier on a language model?",
    choices: ["The one with more samples a second", "The one with fewer tokens a second", "They are the same to it"],
    answer: 1,
    why: "A language model pays for each token it reads or writes. How many bits are in a token costs it much less.",
  },
  {
    question: "What happens to a sound that a learned codebook has no good entry for?",
    choices: ["It is sent as it is", "It snaps to the nearest entry, however far that is", "The codebook grows"],
    answer: 1,
    why: "The list is fixed. The further the nearest entry, the more is lost.",
  },
  {
    question: "In a residual chain, what does the third codebook quantize?",
    choices: ["The vector itself", "Every third vector", "What the first two left over"],
    answer: 2,
    why: "Each codebook takes on the remainder. The sum of the chosen entries comes closer and closer to the vector.",
  },
  {
    question: "Why does training need a straight-through gradient?",
    choices: ["The slope of a staircase is zero nearly everywhere", "Rounding is slow", "The loss is negative"],
    answer: 0,
    why: "A small change does not change what a number is rounded to, so the true gradient says: nothing to gain. It is wrong about that.",
  },
  {
    question: "A group of 7 numbers with 8 levels each: how many tokens can it make?",
    choices: ["56", "2,097,152", "128"],
    answer: 1,
    why: "8 × 8 × 8 × 8 × 8 × 8 × 8. No such list is stored anywhere: the token is the seven levels, written as one number.",
  },
  {
    question: "A codebook covers Mandarin worse than English, on which it was trained. What must one check before blaming the language?",
    choices: ["How new English speakers fare", "The size of the codebook", "How long the recordings are"],
    answer: 0,
    why: "New speakers and other microphones also fall off a codebook. Only what goes beyond that can be the language.",
  },
];
