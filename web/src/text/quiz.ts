/** The questions of the quiz. `answer` is the index of the right choice. */
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
    why: "A language model does about the same amount of work for every token. The number of bits in a token matters much less.",
  },
  {
    question: "What happens to a sound that is far from all entries of a codebook?",
    choices: ["It is sent unchanged", "It is replaced by the nearest entry, however far away", "A new entry is added"],
    answer: 1,
    why: "The list of entries is fixed. The error is the distance to the nearest entry.",
  },
  {
    question: "What does the third codebook of a residual chain quantize?",
    choices: ["The vector itself", "Every third vector", "The residual of the first two codebooks"],
    answer: 2,
    why: "Each codebook quantizes what the codebooks before it left. The sum of the chosen entries approaches the vector.",
  },
  {
    question: "Why does training need a straight-through gradient?",
    choices: ["The gradient of rounding is zero almost everywhere", "Rounding is slow", "The loss is negative"],
    answer: 0,
    why: "A small change in a number does not change the level to which it is rounded. The true gradient is therefore zero, and the encoder cannot learn.",
  },
  {
    question: "A group has 7 numbers with 8 levels each. How many different tokens are there?",
    choices: ["56", "2,097,152", "128"],
    answer: 1,
    why: "8 × 8 × 8 × 8 × 8 × 8 × 8. No list of tokens is stored. A token is seven levels, written as one number.",
  },
  {
    question: "A codebook covers Mandarin less well than the English speech in its training set. Which group is the fair comparison for Mandarin?",
    choices: ["English speakers who are not in the training set", "The training set itself", "The speaker with the lowest coverage"],
    answer: 0,
    why: "A codebook also covers new English speakers and other microphones less well. Only a loss beyond that can be due to the language.",
  },
];
