import { serve } from "silkcodec/worker";

serve();
