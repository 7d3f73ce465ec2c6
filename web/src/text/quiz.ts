/** The questions at the end. `answer` is the index of the right choice. */
export interface Question {
  question: string;
  choices: string[];
  answer: number;
  why: string;
}

export const QUIZ: Question[] = [
  {
    question: "Two codecs have the same bit rate. Which one costs a language model less?",
    choices: ["The one with more samples per second", "The one with fewer tokens per second", "Both cost the same"],
    answer: 1,
    why: "A language model needs the same work for every token. The number of bits in a token matters much less.",
  },
  {
    question: "What happens to a sound that is far from all entries of a codebook?",
    choices: ["It is sent unchanged", "It is replaced by the nearest entry, however far away", "A new entry is added"],
    answer: 1,
    why: "The list is fixed. The error is the distance to the nearest entry.",
  },
  {
    question: "What does the third codebook of a residual chain quantize?",
    choices: ["The vector itself", "Every third vector", "The residual of the first two codebooks"],
    answer: 2,
    why: "Each codebook quantizes what remains after those before it. The sum of the chosen entries approaches the vector.",
  },
  {
    question: "Why does training need a straight-through gradient?",
    choices: ["The gradient of rounding is zero almost everywhere", "Rounding is slow", "The loss is negative"],
    answer: 0,
    why: "A small change of a number does not change what it is rounded to, so the true gradient is zero and training stops.",
  },
  {
    question: "A group has 7 numbers with 8 levels each. How many different tokens are there?",
    choices: ["56", "2,097,152", "128"],
    answer: 1,
    why: "8 × 8 × 8 × 8 × 8 × 8 × 8. No list of them is stored: the token is the seven levels, written as one number.",
  },
  {
    question: "A codebook covers Mandarin less well than the English speech of its training set. What must be compared first?",
    choices: ["Unseen speakers of English", "The size of the codebook", "The duration of the recordings"],
    answer: 0,
    why: "A codebook also covers unseen speakers and other microphones less well. Only a larger difference can be due to the language.",
  },
];
